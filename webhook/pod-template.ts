import { z } from 'zod';

/**
 * The part of an object that the injection reads. Everything else passes through untouched, also fields that no
 * Kubernetes of today knows: the objects are checked, never copied or re-marshalled.
 */
const Annotated = z.looseObject({
  annotations: z.record(z.string(), z.string()).optional(),
});

const Mount = z.looseObject({
  name: z.string(),
  mountPath: z.string(),
  subPath: z.string().optional(),
  subPathExpr: z.string().optional(),
  readOnly: z.boolean().optional(),
});

const Container = z.looseObject({
  name: z.string().min(1),
  image: z.string().optional(),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })).optional(),
  volumeMounts: z.array(Mount).optional(),
});

const PodTemplate = z.looseObject({
  metadata: Annotated.optional(),
  spec: z.looseObject({
    containers: z.array(Container).min(1),
    initContainers: z.array(Container).optional(),
    volumes: z.array(z.looseObject({ name: z.string() })).optional(),
    readinessGates: z.array(z.looseObject({ conditionType: z.string() })).optional(),
    shareProcessNamespace: z.boolean().optional(),
    hostPID: z.boolean().optional(),
    restartPolicy: z.string().optional(),
    imagePullSecrets: z.array(z.looseObject({ name: z.string().optional() })).optional(),
    serviceAccountName: z.string().optional(),
    nodeSelector: z.record(z.string(), z.string()).optional(),
    os: z.looseObject({ name: z.string().optional() }).optional(),
  }),
});

const Deployment = z.looseObject({
  metadata: Annotated,
  spec: z.looseObject({ template: z.unknown() }),
});

export type VolumeMount = z.infer<typeof Mount>;
export type Container = z.infer<typeof Container>;
export type PodTemplate = z.infer<typeof PodTemplate>;
export type Deployment = z.infer<typeof Deployment>;
export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether the value has the shape that the injection relies on; the value itself stays what it is. */
export function isDeployment(value: unknown): value is Deployment {
  return Deployment.safeParse(value).success;
}

/** @returns undefined when the value is a pod template, else what is wrong with it and where */
export function faultOfTemplate(value: unknown): string | undefined {
  const checked = PodTemplate.safeParse(value);
  if (checked.success) return undefined;
  const issue = checked.error.issues[0];
  return `${issue?.path.join('.') || 'template'}: ${issue?.message ?? 'invalid'}`;
}

/** Whether the value has the shape that the injection relies on; the value itself stays what it is. */
export function isPodTemplate(value: unknown): value is PodTemplate {
  return faultOfTemplate(value) === undefined;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A copy without the keys; what remains is shared with the original. */
export function without<T extends JsonObject>(object: T, ...keys: readonly string[]): T {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key))) as T;
}
