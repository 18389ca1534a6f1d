import type { Cache } from '../kube/informer.ts';
import type { KubeObject, Pod } from '../kube/objects.ts';
import { workloadOf, type Controllers } from '../hub/welcome.ts';
import { appOf } from '../app/parse.ts';
import type { Configs } from './configs.ts';
import { resolvePolicy, type Policy } from './resolve.ts';

export interface PolicyDeps extends Controllers {
  readonly apps: Pick<Cache<KubeObject>, 'list'>;
  readonly configs: Configs;
}

/** The policy of a pod, from all the places where it may be written. @throws ApiError when a ConfigMap cannot be read now */
export async function policyOf(pod: Pod, d: PolicyDeps): Promise<Policy> {
  const { namespace = 'default', annotations = {} } = pod.metadata;
  const workload = workloadOf(pod, d);
  const app = workload === undefined ? undefined : appOf(workload, namespace, d.apps.list());
  const [config, defaults] = await Promise.all([d.configs.ofPod(pod), d.configs.defaults()]);
  return resolvePolicy({
    podAnnotations: annotations,
    app: app && { place: `MigratableApp ${namespace}/${app.metadata.name}`, spec: app.spec },
    config,
    defaults,
  });
}
