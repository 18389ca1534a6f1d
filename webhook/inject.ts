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
import { hasCommand, type Image, type ImageAnswer, imageOf, startsSomething } from './image-need.ts';
import { obstacleIn } from './obstacles.ts';
import { type Container, type PodTemplate, without } from './pod-template.ts';
import { remediesFor, withRemedies } from './remedies.ts';
import type { Settings } from './settings.ts';
import type { Skip } from './skip.ts';

/** Of the shape of what is injected; a later version tells by it what it finds. */
export const injectionVersion = '1';

const sleepForever: readonly string[] = [paths.placeholder, 'infinity'];

export type Injection =
  | { readonly injected: true; readonly template: PodTemplate }
  /** `image`: with an answer about it there may be an injection. */
  | { readonly injected: false; readonly skip: Skip; readonly image?: Image };

/**
 * Makes the pods of a template movable. Pure; `inject(inject(x))` equals `inject(x)`, and `eject` takes it back: an
 * injection already there is taken out first, so a template that `kubectl apply` has half restored comes out identical.
 * @param answer about the image of the container, where that has no `command`
 * @returns the new template, sharing with the old one whatever did not change; or why there is none
 */
export function inject(given: PodTemplate, options: Options, settings: Settings, answer?: ImageAnswer): Injection {
  const ejection = eject(given);
  if (!ejection.ejected) return { injected: false, skip: ejection.skip };
  const template = ejection.template;
  const obstacle = obstacleIn(template);
  if (obstacle !== undefined) return { injected: false, skip: obstacle };
  const choice = chooseContainer(template, options.container);
  if (!choice.chosen) return { injected: false, skip: choice.skip };

  const { container } = choice;
  const started = whatStarts(container, template, answer);
  if (!started.known) return { injected: false, skip: started.skip, ...(started.image && { image: started.image }) };
  const changes = options.remedies === 'auto' ? remediesFor(container) : [];
  const image = options.agentImage ?? settings.agentImage;
  const resources = ownResources(template, settings);
  const { spec } = template;
  const own = { image, resources, dataDirs: dataDirsOf(container, template), leavesWith: leavesWith(spec, settings) };
  const agent = agentContainer(own, settings);
  const injected: PodTemplate = {
    ...template,
    metadata: {
      ...template.metadata,
      annotations: {
        ...template.metadata?.annotations,
        [annotations.injected]: injectionVersion,
        [annotations.original]: JSON.stringify(originalOf(template, container, started.image, changes)),
      },
    },
    spec: {
      ...spec,
      shareProcessNamespace: true,
      readinessGates: [...(spec.readinessGates ?? []), { conditionType: servingGate }],
      // As a native sidecar the agent comes last: what it may need, such as a mesh's proxy, runs before it and ends after
      // it, and none of the user's init containers waits for it.
      initContainers: [
        boosterContainer(image, resources),
        ...(spec.initContainers ?? []),
        ...(settings.nativeSidecars ? [agent] : []),
      ],
      containers: [
        ...spec.containers.map((one) => (one.name === container.name ? withRemedies(waiting(one), changes) : one)),
        ...(settings.nativeSidecars ? [] : [agent]),
      ],
      volumes: [...(spec.volumes ?? []), ...podVolumes()],
    },
  };
  return { injected: true, template: injected };
}

/** The kubelet ends native sidecars itself; a pod that is restarted for ever never completes. */
function leavesWith({ restartPolicy }: PodTemplate['spec'], { nativeSidecars }: Settings): string | undefined {
  return nativeSidecars || restartPolicy === undefined || restartPolicy === 'Always' ? undefined : restartPolicy;
}

type Started =
  /** Without an image when the spec says it all. */
  | { readonly known: true; readonly image?: NonNullable<Original['image']> }
  | { readonly known: false; readonly skip: Skip; readonly image?: Image };

function whatStarts(container: Container, template: PodTemplate, answer: ImageAnswer | undefined): Started {
  if (hasCommand(container)) return { known: true };
  const image = imageOf(container, template);
  if (answer === undefined) {
    const message = `the container ${container.name} has no command, and its image has not been asked`;
    return { known: false, skip: { code: 'COMMAND_UNKNOWN', message }, image };
  }
  if (!answer.known) return { known: false, skip: answer.skip };
  if (startsSomething(container, answer.command))
    return { known: true, image: { name: image.image, ...answer.command } };
  const message = `neither the container ${container.name} nor its image has a command`;
  return { known: false, skip: { code: 'NO_COMMAND', message } };
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

function originalOf(
  template: PodTemplate,
  container: Container,
  image: Original['image'],
  changes: ReturnType<typeof remediesFor>,
): Original {
  const { spec, metadata } = template;
  const lists = { initContainers: spec.initContainers, volumes: spec.volumes, readinessGates: spec.readinessGates };
  const created = {
    metadata,
    annotations: metadata?.annotations,
    ...lists,
    volumeMounts: container.volumeMounts,
    ...(changes.length === 0 ? {} : { env: container.env }),
  };
  return {
    container: container.name,
    ...(container.command === undefined ? {} : { command: container.command }),
    ...(container.args === undefined ? {} : { args: container.args }),
    ...(image === undefined ? {} : { image }),
    // Only a probe we replace is recorded: a null, which is none.
    ...(Object.hasOwn(container, 'startupProbe') && !hasProbe(container) ? { startupProbe: null } : {}),
    ...(changes.length === 0 ? {} : { env: [...changes] }),
    ...(spec.shareProcessNamespace === undefined ? {} : { shareProcessNamespace: spec.shareProcessNamespace }),
    created: Object.entries(created).flatMap(([key, value]) => (value === undefined ? [key] : [])),
  };
}

function hasProbe(container: Container): boolean {
  return container['startupProbe'] !== undefined && container['startupProbe'] !== null;
}
