import { type Answer, review } from './admission.ts';
import type { Surroundings } from './decision.ts';
import type { ImageFinder } from './image-config/find-image.ts';
import type { Settings } from './settings.ts';

/** Where the answers to what a review does not say come from; without one the review alone decides. */
export interface Sources {
  readonly images?: Pick<ImageFinder, 'find'> | undefined;
  readonly annotationsOfOwner?: Surroundings['annotationsOfOwner'];
}

/**
 * Answers a review. When the answer hangs on an image, that is asked for, within the finder's budget, and the review is
 * answered again with what came of it.
 * @throws PodferryError REQUEST_INVALID
 */
export async function answerTo(body: unknown, settings: Settings, sources: Sources): Promise<Answer> {
  const { images, annotationsOfOwner } = sources;
  const answer = review(body, settings, { annotationsOfOwner });
  if (answer.needs === undefined || images === undefined) return answer;
  return review(body, settings, { annotationsOfOwner, image: await images.find(answer.needs) });
}
