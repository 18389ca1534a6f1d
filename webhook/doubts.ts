import { paths } from '../proto/names.ts';
import { isJsonObject, type Container, type PodTemplate } from './pod-template.ts';
import type { Skip } from './skip.ts';

const gpu =
  /^(?:nvidia\.com\/(?:gpu|mig-)|amd\.com\/gpu|gpu\.intel\.com\/|habana\.ai\/|aws\.amazon\.com\/neuron|google\.com\/tpu)/;
/** Runtimes whose containers do not share the kernel of the node, by the names that their RuntimeClasses usually have. */
const sandboxes = /^(gvisor|runsc|kata|firecracker|fc|nabla|wasm[a-z]*|spin|quark|sysbox)([-_.].*)?$/;

const bound: Readonly<Record<string, string>> = {
  hostPath: 'is a hostPath: the other node has files of its own there',
  ephemeral: 'is made anew for each pod',
};

/** Why a move of pods of an injected template will, or may, be refused later: what the template alone tells. Pure. */
export function doubtsIn({ spec }: PodTemplate): readonly Skip[] {
  const chosen = spec.containers.find(({ command }) => command?.[0] === paths.placeholder);
  return [
    ...(chosen === undefined ? [] : doubtsOfContainer(chosen)),
    ...(spec['hostNetwork'] === true
      ? [{ code: 'HOST_NETWORK', message: 'the pod has hostNetwork: true' } as const]
      : []),
    ...(spec['hostIPC'] === true ? [{ code: 'HOST_IPC', message: 'the pod has hostIPC: true' } as const] : []),
    ...(spec.volumes ?? []).flatMap((volume): Skip[] => {
      const kind = Object.keys(bound).find((each) => isJsonObject(volume[each]));
      return kind === undefined ? [] : [{ code: 'VOLUME_BOUND', message: `volume ${volume.name} ${bound[kind]}` }];
    }),
    ...doubtsOfRuntime(spec['runtimeClassName']),
  ];
}

function doubtsOfContainer(container: Container): readonly Skip[] {
  const { name } = container;
  const asked = resourcesOf(container);
  const gpus = asked.filter((resource) => gpu.test(resource));
  const hugePages = asked.filter((resource) => resource.startsWith('hugepages-'));
  const found: Skip[] = [];
  if (gpus.length > 0) found.push({ code: 'GPU_IN_USE', message: `container ${name} requests ${gpus.join(', ')}` });
  if (hugePages.length > 0) {
    found.push({ code: 'HUGE_PAGES_IN_USE', message: `container ${name} requests ${hugePages.join(', ')}` });
  }
  if (container['tty'] === true) found.push({ code: 'TERMINAL_IN_USE', message: `container ${name} has tty: true` });
  return found;
}

function resourcesOf({ resources }: Container): readonly string[] {
  const lists = isJsonObject(resources) ? [resources['requests'], resources['limits']] : [];
  return [...new Set(lists.filter(isJsonObject).flatMap((list) => Object.keys(list)))];
}

function doubtsOfRuntime(runtimeClass: unknown): readonly Skip[] {
  if (typeof runtimeClass !== 'string' || !sandboxes.test(runtimeClass)) return [];
  return [{ code: 'RUNTIME_SANDBOXED', message: `the pod has runtimeClassName: ${runtimeClass}` }];
}
