import { isDeepStrictEqual } from 'node:util';
import type { Operation } from 'rfc6902';
import { z } from 'zod';
import { PodferryError } from '../proto/errors.ts';
import { annotations } from '../proto/names.ts';
import { eject, isInjected, isWhole } from './eject.ts';
import { cautionsOf, optIn, type Options } from './eligibility.ts';
import { inject } from './inject.ts';
import { type Deployment, faultOfTemplate, isDeployment, isPodTemplate, type PodTemplate } from './pod-template.ts';
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

/** What was done with an object; for the log. */
export type Outcome = 'ignored' | 'unchanged' | 'injected' | 'ejected' | 'skipped' | 'failed';

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
 * keeps a workload from starting.
 * @throws PodferryError REQUEST_INVALID when the body is no such review, so that there is nothing to answer
 */
export function review(body: unknown, settings: Settings): Answer {
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
    const decision = decide(request, settings);
    const patch = decision.template === undefined ? [] : patchOf(request.object, decision.template);
    return answer(request, patch.length === 0 && decision.outcome === 'injected' ? 'unchanged' : decision.outcome, {
      skip: decision.skip,
      cautions: decision.outcome === 'ignored' ? [] : cautionsOf(request.object),
      patch,
    });
  } catch (error) {
    const skip: Skip = { code: 'INTERNAL', message: 'the injection failed, the object is left as it is' };
    return answer(request, 'failed', { skip, patch: [], error });
  }
}

interface Decision {
  readonly outcome: Outcome;
  readonly skip?: Skip | undefined;
  /** The pod template to store instead of the one in the request. */
  readonly template?: PodTemplate;
}

function decide(request: Request, settings: Settings): Decision {
  const { group, version, kind } = request.kind;
  const isOurs = group === 'apps' && version === 'v1' && kind === 'Deployment' && (request.subResource ?? '') === '';
  if (!isOurs || (request.operation !== 'CREATE' && request.operation !== 'UPDATE')) return { outcome: 'ignored' };
  if (!isDeployment(request.object)) return { outcome: 'ignored' };
  const given = request.object.spec.template;
  if (!isPodTemplate(given)) {
    if (request.object.metadata.annotations?.[annotations.enabled] === undefined) return { outcome: 'unchanged' };
    return { outcome: 'skipped', skip: { code: 'TEMPLATE_INVALID', message: faultOfTemplate(given) ?? 'template' } };
  }
  const { options, invalid } = optIn(request.object, given);
  const before = request.operation === 'UPDATE' ? stateOf(request.oldObject) : undefined;
  if (options.enabled && before !== undefined && isUntouched(given, options, before)) return { outcome: 'unchanged' };

  if (!options.enabled) return withdraw(given, invalid);
  const injection = inject(given, options, settings);
  if (!injection.injected) return withdraw(given, injection.skip);
  return { outcome: 'injected', template: standing(given, options, before) ?? injection.template };
}

/** Without an injection the user's own template must stand: half of one would be worse than none. */
function withdraw(given: PodTemplate, skip: Skip | undefined): Decision {
  if (!isInjected(given)) return { outcome: skip === undefined ? 'unchanged' : 'skipped', skip };
  const ejection = eject(given);
  if (!ejection.ejected) return { outcome: 'skipped', skip: ejection.skip };
  return { outcome: 'ejected', skip, template: ejection.template };
}

interface Before {
  readonly template: PodTemplate;
  readonly options: Options;
}

function stateOf(oldObject: unknown): Before | undefined {
  if (!isDeployment(oldObject) || !isPodTemplate(oldObject.spec.template)) return undefined;
  const { template } = oldObject.spec;
  return { template, options: optIn(oldObject, template).options };
}

/** An upgrade of Podferry must not roll out every workload at its next update; what is broken is repaired though. */
function isUntouched(given: PodTemplate, options: Options, before: Before): boolean {
  if (!isDeepStrictEqual(options, before.options) || !isDeepStrictEqual(given, before.template)) return false;
  return !isInjected(given) || isWhole(given);
}

/**
 * The stored template, when the user's part of it is what the request asks for again. `kubectl apply` of an unchanged
 * manifest puts the original command back each time; that must end in the stored template, whichever version made it.
 */
function standing(given: PodTemplate, options: Options, before: Before | undefined): PodTemplate | undefined {
  if (before === undefined || !isDeepStrictEqual(options, before.options)) return undefined;
  if (!isInjected(before.template) || !isWhole(before.template)) return undefined;
  const [now, then] = [eject(given), eject(before.template)];
  const same = now.ejected && then.ejected && isDeepStrictEqual(now.template, then.template);
  return same ? before.template : undefined;
}

function patchOf(object: unknown, template: PodTemplate): Operation[] {
  const deployment = object as Deployment;
  return patchBetween(deployment, { ...deployment, spec: { ...deployment.spec, template } });
}

function answer(
  { uid, operation, namespace, name }: Request,
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
  const warnings = [...(skip === undefined ? [] : [skip]), ...cautions].map(warningOf);
  const response = {
    uid,
    allowed: true as const,
    ...(patch.length === 0
      ? {}
      : { patchType: 'JSONPatch' as const, patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
    ...(warnings.length === 0 ? {} : { warnings }),
  };
  const object = { uid, operation, namespace, name };
  return { outcome, skip, error, object, review: { apiVersion: admissionVersion, kind: 'AdmissionReview', response } };
}
