import { isDeepStrictEqual } from 'node:util';
import { annotations } from '../proto/names.ts';
import { type Decision, type Surroundings, withRecord } from './decision.ts';
import { eject, isInjected, isWhole, recordedImage } from './eject.ts';
import { optIn, type Options } from './eligibility.ts';
import { inject } from './inject.ts';
import { faultOfTemplate, isDeployment, isPodTemplate, type PodTemplate } from './pod-template.ts';
import type { Settings } from './settings.ts';
import type { Skip } from './skip.ts';

/**
 * What to do with a Deployment that is created or, with an `oldObject`, updated. Nothing that has not to do with the
 * user's wish changes a template that stands: no upgrade of Podferry or of the server, and no tag that was moved.
 */
export function decideDeployment(
  object: unknown,
  oldObject: unknown,
  settings: Settings,
  { image }: Surroundings,
): Decision<PodTemplate> {
  if (!isDeployment(object)) return { outcome: 'ignored' };
  const given = object.spec.template;
  if (!isPodTemplate(given)) {
    if (object.metadata.annotations?.[annotations.enabled] === undefined) return { outcome: 'unchanged' };
    return { outcome: 'skipped', skip: { code: 'TEMPLATE_INVALID', message: faultOfTemplate(given) ?? 'template' } };
  }
  const { options, invalid } = optIn(object, given);
  if (!options.enabled) return withdraw(given, invalid);
  const before = stateOf(oldObject);
  if (before !== undefined && isUntouched(given, options, before)) return { outcome: 'unchanged' };
  const stands = standing(given, options, before);
  if (stands !== undefined) return { outcome: 'injected', template: stands };

  const { injection, warning } = withRecord(
    (answer) => inject(given, options, settings, answer),
    image,
    ({ image: name }) => recordedImage(given, name) ?? (before && recordedImage(before.template, name)),
  );
  if (injection.injected) return { outcome: 'injected', template: injection.template, skip: warning };
  return { ...withdraw(given, injection.skip), image: injection.image };
}

/** Without an injection the user's own template must stand: half of one would be worse than none. */
function withdraw(given: PodTemplate, skip: Skip | undefined): Decision<PodTemplate> {
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
