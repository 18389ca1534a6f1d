import type { ImageCommand } from '../proto/injection.ts';
import type { Annotations } from './annotations.ts';
import type { Injection } from './inject.ts';
import type { Image, ImageAnswer } from './image-need.ts';
import type { Skip } from './skip.ts';

/** What was done with an object; for the log. */
export type Outcome = 'ignored' | 'unchanged' | 'injected' | 'ejected' | 'skipped' | 'failed';

/** What to do with one object. */
export interface Decision<T> {
  readonly outcome: Outcome;
  readonly skip?: Skip | undefined;
  /** To store instead of what the request has. */
  readonly template?: T;
  /** The decision is another when this image is known. */
  readonly image?: Image | undefined;
}

/** What is known besides the request and the settings. */
export interface Surroundings {
  /** About the image that an earlier decision asked for. */
  readonly image?: ImageAnswer | undefined;
  /** Our annotations on the object that controls a pod and on what controls that one, by its uid; the nearest wins. */
  readonly annotationsOfOwner?: ((uid: string) => Annotations) | undefined;
}

/** An injection with what is known of the image, or else with what was found out about it before. */
export function withRecord(
  injectWith: (answer: ImageAnswer | undefined) => Injection,
  answer: ImageAnswer | undefined,
  recorded: (image: Image) => ImageCommand | undefined,
): { readonly injection: Injection; readonly warning?: Skip } {
  const injection = injectWith(answer);
  if (injection.injected || answer === undefined || answer.known) return { injection };
  const asked = injectWith(undefined);
  const command = asked.injected || asked.image === undefined ? undefined : recorded(asked.image);
  if (command === undefined) return { injection };
  const { code, message } = answer.skip;
  const warning = { code, message: `the command that was recorded before stays: ${message}` };
  return { injection: injectWith({ known: true, command }), warning };
}
