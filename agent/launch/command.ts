import type { Original } from '../../proto/injection.ts';
import type { Environment } from './environment.ts';

/**
 * The words the application is executed with, as a container runtime puts them together: `command` and `args` of the spec,
 * with the references to environment variables that the kubelet would have replaced, had the injection not taken their
 * place; where the spec has none of them, what the image says, which nobody expands.
 * @see Kubernetes, third_party/forked/golang/expansion: `$(NAME)` of a known name becomes its value, of an unknown one
 *   stays; `$$` becomes `$`, so `$$(NAME)` stays literal; values are not expanded again
 * @see containerd pkg/cri/server/container_create.go: withProcessArgs
 */
export function expandCommand(original: Original, environment: Environment): string[] {
  const { command = [], args = [], image } = original;
  const expanded = (words: readonly string[]): string[] => words.map((word) => expand(word, environment));
  if (command.length > 0 || image === undefined) return [...expanded(command), ...expanded(args)];
  return [...image.entrypoint, ...(args.length > 0 ? expanded(args) : image.cmd)];
}

function expand(word: string, environment: Environment): string {
  return word.replace(/\$(?:\$|\(([^)]*)\))/g, (reference, name: string | undefined) =>
    name === undefined ? '$' : (environment.get(name) ?? reference),
  );
}
