import type { Store as StoreSettings } from '../../proto/gen/agent/v1/agent.ts';
import { PodferryError } from '../../proto/errors.ts';
import { createFileStore } from './file.ts';
import { createS3Store, type ClosableStore } from './s3.ts';

/**
 * The store that the operator named. Connections are made on first use.
 * @throws PodferryError CONFIG_INVALID when this agent does not know its type
 */
export function openStore(settings: StoreSettings): ClosableStore {
  const { type = 's3', folder = '' } = settings;
  if (type === 's3' || type === 'minio' || type === 'gcs') return createS3Store(settings);
  if (type === 'file' && folder.startsWith('/')) return { ...createFileStore(folder), close: () => undefined };
  throw new PodferryError('CONFIG_INVALID', `the operator named a store of type "${type}", folder "${folder}"`);
}
