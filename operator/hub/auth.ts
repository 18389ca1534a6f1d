import { createHash } from 'node:crypto';
import { z } from 'zod';
import { PodferryError } from '../../proto/errors.ts';
import { annotations, tokenAudience } from '../../proto/names.ts';
import type { Clock } from '../clock.ts';
import { paths, type KubeClient } from '../kube/client.ts';
import type { Cache } from '../kube/informer.ts';
import type { Pod } from '../kube/objects.ts';
import type { PodIdentity } from './agents.ts';

const TokenReview = z.object({
  status: z.object({
    authenticated: z.boolean().default(false),
    audiences: z.array(z.string()).default([]),
    user: z.object({ username: z.string(), extra: z.record(z.string(), z.array(z.string())).nullish() }).optional(),
  }),
});

const podNameExtra = 'authentication.kubernetes.io/pod-name';
const podUidExtra = 'authentication.kubernetes.io/pod-uid';
const cacheMs = 5_000;
const maxCached = 10_000;
const maxTokenChars = 16_384;

/** Says for which pod a bearer token speaks. @throws PodferryError UNAUTHENTICATED; INTERNAL when the API server cannot be asked */
export type Authenticate = (authorization: string | undefined) => Promise<PodIdentity>;

/**
 * Authentication by TokenReview: the token must be for our audience, bound to a pod, and that very pod (by uid) must exist
 * and be one of ours. Answers are kept for a few seconds, by the token's hash: agents reconnect in crowds.
 */
export function createAuthenticate(client: KubeClient, pods: Cache<Pod>, clock: Clock): Authenticate {
  const known = new Map<string, { readonly pod: PodIdentity | undefined; readonly untilMs: number }>();

  async function review(token: string): Promise<PodIdentity | undefined> {
    const answer = TokenReview.safeParse(
      await client.call({
        method: 'POST',
        path: paths.tokenReviews,
        timeoutMs: 5_000,
        body: {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenReview',
          spec: { token, audiences: [tokenAudience] },
        },
      }),
    );
    if (!answer.success) return undefined;
    const { authenticated, audiences, user } = answer.data.status;
    // a server that knows no audiences would answer without them, for a token of any audience
    if (!authenticated || user === undefined || !audiences.includes(tokenAudience)) return undefined;
    const [, namespace] = /^system:serviceaccount:([^:]+):[^:]+$/.exec(user.username) ?? [];
    const name = user.extra?.[podNameExtra]?.[0];
    const uid = user.extra?.[podUidExtra]?.[0];
    return namespace === undefined || name === undefined || uid === undefined ? undefined : { uid, namespace, name };
  }

  async function identify(token: string): Promise<PodIdentity | undefined> {
    const hash = createHash('sha256').update(token).digest('base64');
    const before = known.get(hash);
    if (before !== undefined && before.untilMs > clock.now()) return before.pod;
    const pod = await review(token);
    if (known.size >= maxCached) known.clear();
    known.set(hash, { pod, untilMs: clock.now() + cacheMs });
    return pod;
  }

  return async (authorization) => {
    const token = /^Bearer ([\w.~+/=-]+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined || token.length > maxTokenChars) throw refused('no bearer token was sent');
    const identity = await identify(token);
    if (identity === undefined) throw refused(`the token is not valid for ${tokenAudience} or not bound to a pod`);
    const pod = pods.byUid(identity.uid);
    if (pod === undefined || pod.metadata.namespace !== identity.namespace || pod.metadata.name !== identity.name) {
      throw refused(`the pod ${identity.namespace}/${identity.name} of the token is not known`);
    }
    if (pod.metadata.annotations?.[annotations.injected] === undefined) {
      throw refused(`the pod ${identity.namespace}/${identity.name} of the token has no agent of ours`);
    }
    return identity;
  };
}

function refused(why: string): PodferryError {
  return new PodferryError('UNAUTHENTICATED', `agent refused: ${why}`);
}
