import type { Original } from '../proto/injection.ts';
import { annotations, paths, servingGate, volumes } from '../proto/names.ts';
import {
  agentContainer,
  boosterContainer,
  dataDirsOf,
  ownResources,
  podVolumes,
  startupProbe,
} from './agent-container.ts';
import { eject } from './eject.ts';
import { chooseContainer, type Options } from './eligibility.ts';
import { obstacleIn } from './obstacles.ts';
import { type Container, type PodTemplate, without } from './pod-template.ts';
import type { Settings } from './settings.ts';
import type { Skip } from './skip.ts';

/** Of the shape of what is injected; a later version tells by it what it finds. */
export const injectionVersion = '1';

const sleepForever: readonly string[] = [paths.placeholder, 'infinity'];

export type Injection =
  { readonly injected: true; readonly template: PodTemplate } | { readonly injected: false; readonly skip: Skip };

/**
 * Makes the pods of a template movable. Pure; `inject(inject(x))` equals `inject(x)`, and `eject` takes it back: an
 * injection already there is taken out first, so a template that `kubectl apply` has half restored comes out identical.
 * @returns the new template, sharing with the old one whatever did not change; or why there is none
 */
export function inject(given: PodTemplate, options: Options, settings: Settings): Injection {
  const ejection = eject(given);
  if (!ejection.ejected) return { injected: false, skip: ejection.skip };
  const template = ejection.template;
  const obstacle = obstacleIn(template);
  if (obstacle !== undefined) return { injected: false, skip: obstacle };
  const choice = chooseContainer(template, options.container);
  if (!choice.chosen) return { injected: false, skip: choice.skip };

  const { container } = choice;
  const image = options.agentImage ?? settings.agentImage;
  const resources = ownResources(template, settings);
  const { spec } = template;
  const agent = agentContainer(image, resources, dataDirsOf(container, template), settings);
  const injected: PodTemplate = {
    ...template,
    metadata: {
      ...template.metadata,
      annotations: {
        ...template.metadata?.annotations,
        [annotations.injected]: injectionVersion,
        [annotations.original]: JSON.stringify(originalOf(template, container)),
      },
    },
    spec: {
      ...spec,
      shareProcessNamespace: true,
      readinessGates: [...(spec.readinessGates ?? []), { conditionType: servingGate }],
      initContainers: [boosterContainer(image, resources), ...(spec.initContainers ?? [])],
      containers: [...spec.containers.map((one) => (one.name === container.name ? waiting(one) : one)), agent],
      volumes: [...(spec.volumes ?? []), ...podVolumes()],
    },
  };
  return { injected: true, template: injected };
}

function waiting(container: Container): Container {
  return {
    ...without(container, 'args'),
    command: [...sleepForever],
    ...(hasProbe(container) ? {} : { startupProbe: startupProbe(container.name) }),
    volumeMounts: [
      ...(container.volumeMounts ?? []),
      { name: volumes.shared, mountPath: paths.shared, readOnly: true },
    ],
  };
}

function originalOf(template: PodTemplate, container: Container): Original {
  const { spec, metadata } = template;
  const lists = { initContainers: spec.initContainers, volumes: spec.volumes, readinessGates: spec.readinessGates };
  const created = {
    metadata,
    annotations: metadata?.annotations,
    ...lists,
    volumeMounts: container.volumeMounts,
  };
  return {
    container: container.name,
    ...(container.command === undefined ? {} : { command: container.command }),
    ...(container.args === undefined ? {} : { args: container.args }),
    // Only a probe we replace is recorded: a null, which is none.
    ...(Object.hasOwn(container, 'startupProbe') && !hasProbe(container) ? { startupProbe: null } : {}),
    ...(spec.shareProcessNamespace === undefined ? {} : { shareProcessNamespace: spec.shareProcessNamespace }),
    created: Object.entries(created).flatMap(([key, value]) => (value === undefined ? [key] : [])),
  };
}

function hasProbe(container: Container): boolean {
  return container['startupProbe'] !== undefined && container['startupProbe'] !== null;
}
