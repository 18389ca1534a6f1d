import { PodferryError, toPodferryError } from '../../proto/errors.ts';
import type { ImageCommand } from '../../proto/injection.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import type { ImageAnswer, ImageNeed } from '../image-need.ts';
import { createBoundedMap } from './bounded-map.ts';
import type { ReadCredentials } from './credentials.ts';
import { credentialsFor } from './pull-secret.ts';
import { readImage } from './read-image.ts';
import { parseReference, type Reference } from './reference.ts';
import { endpointsOf, isInsecure, type Registries } from './registries.ts';
import { openSession } from './session.ts';
import { withDeadline } from '../with-deadline.ts';

export interface FindImageOptions {
  readonly registries: Registries;
  readonly readCredentials: ReadCredentials;
  readonly now: () => number;
  readonly log: Log;
  /** Of the 2 s that the API server gives us, all told; the rest is for the way there and back. */
  readonly budgetMs?: number;
  /** Of a lookup that goes on after the answer. */
  readonly lookupMs?: number;
  readonly mostLookups?: number;
}

/** Finds out what images start. */
export interface ImageFinder {
  /** Answers within the budget; what takes longer goes on behind, for whoever asks next. Never rejects. */
  find(need: ImageNeed): Promise<ImageAnswer>;
  /** Breaks off what is under way. */
  stop(): void;
}

/** A tag may be moved; a digest stays, but who may read it can change. */
const lifeMs = { tag: 60_000, digest: 3_600_000, failure: 10_000 } as const;
const mostAnswers = 2000;
const mostConfigs = 2000;

/**
 * Answers are kept by who asked (namespace and pull secrets), so that nobody learns from another's credentials; the
 * configurations behind them by their digest. Of several that ask the same at a time one does the work.
 */
export function createImageFinder(options: FindImageOptions): ImageFinder {
  const { registries, readCredentials, now, log, budgetMs = 1200, lookupMs = 30_000, mostLookups = 32 } = options;
  const answers = createBoundedMap<ImageAnswer>(mostAnswers, now);
  const configs = createBoundedMap<ImageCommand>(mostConfigs, now);
  const underWay = new Map<string, Promise<ImageAnswer>>();
  const stopping = new AbortController();

  async function lookUp(reference: Reference, need: ImageNeed, signal: AbortSignal): Promise<ImageCommand> {
    const credentials = await readCredentials(need, signal).catch((cause: unknown) => {
      throw new PodferryError('IMAGE_UNREACHABLE', 'the pull secrets could not be read', {}, { cause });
    });
    let failure: PodferryError | undefined;
    for (const endpoint of endpointsOf(reference, registries)) {
      const session = openSession({
        endpoint,
        credentials: credentialsFor(endpoint, credentials.all),
        signal,
        allowsHttp: (host) => isInsecure(host, registries),
      });
      try {
        return await readImage({ reference, architecture: need.architecture, session, configs });
      } catch (error) {
        failure = toPodferryError(error, `read the image ${need.image}`);
      }
    }
    throw withSecrets(failure ?? new PodferryError('INTERNAL', 'an image has no endpoint'), credentials.isDenied, need);
  }

  async function answerOf(reference: Reference, need: ImageNeed, key: string): Promise<ImageAnswer> {
    try {
      const command = await withDeadline(lookupMs, stopping.signal, (signal) => lookUp(reference, need, signal));
      const answer: ImageAnswer = { known: true, command };
      answers.set(key, answer, 'digest' in reference.version ? lifeMs.digest : lifeMs.tag);
      return answer;
    } catch (error) {
      if (!stopping.signal.aborted) log.info('image not read', { image: need.image, ...errorFields(error) });
      const answer = unknown(error);
      answers.set(key, answer, lifeMs.failure);
      return answer;
    } finally {
      underWay.delete(key);
    }
  }

  return {
    async find(need) {
      let reference: Reference;
      try {
        reference = parseReference(need.image);
      } catch (error) {
        return unknown(error);
      }
      const key = JSON.stringify([need.namespace, need.secrets, need.serviceAccount, need.image, need.architecture]);
      const kept = answers.get(key);
      if (kept !== undefined) return kept;
      let work = underWay.get(key);
      if (work === undefined) {
        if (underWay.size >= mostLookups) return unknown(pending(need, 'too many images are being looked up'));
        work = answerOf(reference, need, key);
        underWay.set(key, work);
      }
      return within(work, budgetMs, unknown(pending(need, `no answer within ${budgetMs} ms`)));
    },
    stop: () => stopping.abort(),
  };
}

function pending({ image }: ImageNeed, why: string): PodferryError {
  return new PodferryError('IMAGE_PENDING', `the registry of ${image} is still being asked: ${why}`);
}

/** A registry does not tell a private image from a missing one; with secrets that we may not see, it is the first. */
function withSecrets(failure: PodferryError, isDenied: boolean, { image, namespace }: ImageNeed): PodferryError {
  if (!isDenied || !(failure.code === 'IMAGE_DENIED' || failure.code === 'IMAGE_MISSING')) return failure;
  const message = `${image} cannot be read without credentials, and the pull secrets of ${namespace} are hidden from us`;
  return new PodferryError('IMAGE_DENIED', message, {}, { cause: failure });
}

function unknown(error: unknown): ImageAnswer {
  const { code, message } = toPodferryError(error, 'look an image up');
  return { known: false, skip: { code, message } };
}

async function within<T>(work: Promise<T>, ms: number, otherwise: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(otherwise), ms);
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
