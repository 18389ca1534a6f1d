import type { Original } from '../../proto/injection.ts';
import type { Environment } from './environment.ts';

/**
 * The words the application is executed with: its own command and args, with the references to environment variables
 * that the kubelet would have replaced, had the injection not taken their place.
 * @see Kubernetes, third_party/forked/golang/expansion: `$(NAME)` of a known name becomes its value, of an unknown one
 *   stays; `$$` becomes `$`, so `$$(NAME)` stays literal; values are not expanded again
 */
export function expandCommand(original: Original, environment: Environment): string[] {
  const words = [...(original.command ?? []), ...(original.args ?? [])];
  return words.map((word) => expand(word, environment));
}

function expand(word: string, environment: Environment): string {
  return word.replace(/\$(?:\$|\(([^)]*)\))/g, (reference, name: string | undefined) =>
    name === undefined ? '$' : (environment.get(name) ?? reference),
  );
}
