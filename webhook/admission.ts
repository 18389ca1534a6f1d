import type { Operation } from 'rfc6902';
import { z } from 'zod';
import { PodferryError } from '../proto/errors.ts';
import { decideDeployment } from './decide-deployment.ts';
import { decidePod } from './decide-pod.ts';
import type { Decision, Outcome, Surroundings } from './decision.ts';
import { doubtsIn } from './doubts.ts';
import { cautionsOf } from './eligibility.ts';
import type { ImageNeed } from './image-need.ts';
import { type Deployment, isJsonObject, type PodTemplate } from './pod-template.ts';
import { patchBetween } from './patch.ts';
import type { Settings } from './settings.ts';
import { type Skip, warningOf } from './skip.ts';

const admissionVersion = 'admission.k8s.io/v1';

const AdmissionReview = z.looseObject({
  apiVersion: z.literal(admissionVersion),
  kind: z.literal('AdmissionReview'),
  request: z.looseObject({
    uid: z.string().min(1),
    operation: z.string(),
    kind: z.looseObject({ group: z.string(), version: z.string(), kind: z.string() }),
    subResource: z.string().optional(),
    namespace: z.string().optional(),
    name: z.string().optional(),
    object: z.unknown(),
    oldObject: z.unknown(),
  }),
});
type Request = z.infer<typeof AdmissionReview>['request'];

export interface ObjectName {
  readonly uid: string;
  readonly operation: string;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

export interface Answer {
  readonly outcome: Outcome;
  readonly skip?: Skip | undefined;
  readonly error?: unknown;
  /** The answer is another when it is known what this image starts. */
  readonly needs?: ImageNeed | undefined;
  /** Which object, for the log; nothing of its content. */
  readonly object: ObjectName;
  readonly review: AdmissionReviewResponse;
}

export interface AdmissionReviewResponse {
  readonly apiVersion: typeof admissionVersion;
  readonly kind: 'AdmissionReview';
  readonly response: {
    readonly uid: string;
    readonly allowed: true;
    readonly patchType?: 'JSONPatch';
    /** base64 of RFC 6902 operations on the raw object. */
    readonly patch?: string;
    readonly warnings?: readonly string[];
  };
}

/**
 * Answers an AdmissionReview of version v1. Whatever is wrong with an object or with us, it is allowed: nothing of ours
 * keeps a workload from starting. Pure: no answer changes anything anywhere, so a dry run is answered as any other.
 * @throws PodferryError REQUEST_INVALID when the body is no such review, so that there is nothing to answer
 */
export function review(body: unknown, settings: Settings, surroundings: Surroundings = {}): Answer {
  const parsed = AdmissionReview.safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new PodferryError(
      'REQUEST_INVALID',
      `the body is no AdmissionReview of ${admissionVersion}: ${issue?.path.join('.') || 'body'}: ${issue?.message ?? ''}`,
    );
  }
  const { request } = parsed.data;
  try {
    const { outcome, skip, image, patch, template } = changes(request, settings, surroundings);
    const cautions = [
      ...(outcome === 'ignored' ? [] : cautionsOf(request.object)),
      ...(outcome === 'injected' && template !== undefined ? doubtsIn(template) : []),
    ];
    const said = patch.length === 0 && outcome === 'injected' ? 'unchanged' : outcome;
    return {
      ...answer(request, said, { skip, cautions, patch }),
      needs: image && { ...image, namespace: request.namespace ?? '' },
    };
  } catch (error) {
    const skip: Skip = { code: 'INTERNAL', message: 'the injection failed, the object is left as it is' };
    return answer(request, 'failed', { skip, patch: [], error });
  }
}

type Changes = Decision<PodTemplate> & { readonly patch: readonly Operation[] };

const nothing: Changes = { outcome: 'ignored', patch: [] };

/** One entry for each resource that the configuration sends us (manifests/base/webhook-configuration.yaml). */
const resources: Readonly<Record<string, (request: Request, settings: Settings, around: Surroundings) => Changes>> = {
  'apps/v1/Deployment': ({ operation, object, oldObject }, settings, around) => {
    if (operation !== 'CREATE' && operation !== 'UPDATE') return nothing;
    const decision = decideDeployment(object, operation === 'UPDATE' ? oldObject : null, settings, around);
    const { template } = decision;
    const deployment = object as Deployment;
    const after = template && { ...deployment, spec: { ...deployment.spec, template } };
    return { ...decision, patch: after === undefined ? [] : patchBetween(deployment, after) };
  },
  '/v1/Pod': ({ operation, object }, settings, around) => {
    if (operation !== 'CREATE') return nothing;
    const decision = decidePod(object, settings, around);
    return { ...decision, patch: decision.template === undefined ? [] : patchBetween(object, decision.template) };
  },
};

function changes(request: Request, settings: Settings, surroundings: Surroundings): Changes {
  const { group, version, kind } = request.kind;
  const resource = (request.subResource ?? '') === '' ? resources[`${group}/${version}/${kind}`] : undefined;
  return resource === undefined ? nothing : resource(request, settings, surroundings);
}

function answer(
  request: Request,
  outcome: Outcome,
  {
    skip,
    cautions = [],
    patch,
    error,
  }: {
    readonly skip?: Skip | undefined;
    readonly cautions?: readonly Skip[];
    readonly patch: readonly Operation[];
    readonly error?: unknown;
  },
): Answer {
  const { uid, operation, namespace } = request;
  const warnings = [...(skip === undefined ? [] : [skip]), ...cautions].map(warningOf);
  const response = {
    uid,
    allowed: true as const,
    ...(patch.length === 0
      ? {}
      : { patchType: 'JSONPatch' as const, patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
    ...(warnings.length === 0 ? {} : { warnings }),
  };
  const object = { uid, operation, namespace, name: request.name || generatedFrom(request.object) };
  return { outcome, skip, error, object, review: { apiVersion: admissionVersion, kind: 'AdmissionReview', response } };
}

/** Pods of controllers get their name after admission. */
function generatedFrom(object: unknown): string | undefined {
  const metadata = isJsonObject(object) ? object['metadata'] : undefined;
  const prefix = isJsonObject(metadata) ? metadata['generateName'] : undefined;
  return typeof prefix === 'string' ? `${prefix}*` : undefined;
}
