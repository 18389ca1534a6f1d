import { z } from 'zod';

/** What an image starts by itself; an empty list stands for none. */
export const ImageCommand = z.object({ entrypoint: z.array(z.string()), cmd: z.array(z.string()) });
export type ImageCommand = z.infer<typeof ImageCommand>;

/**
 * What the injection replaced in the chosen container and the pod: content of the annotation `migration.io/original`.
 * A key that is absent was absent in the original, so `{}` and `{ command: [] }` differ.
 * The webhook writes and reverses it, the agent starts the application from it, the operator reads the container's name.
 */
export const Original = z.object({
  container: z.string().min(1),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  /** Not part of the original: what its image starts, where it has no command. Names the image as the container does. */
  image: ImageCommand.extend({ name: z.string() }).optional(),
  startupProbe: z.unknown().optional(),
  /** Variables that were added, or had the value `before`. */
  env: z.array(z.object({ name: z.string(), value: z.string(), before: z.string().optional() })).optional(),
  shareProcessNamespace: z.boolean().optional(),
  /** Fields of the pod spec or container that the injection had to create, so that taking them back leaves no empty list. */
  created: z.array(z.string()).default([]),
});
export type Original = z.infer<typeof Original>;
