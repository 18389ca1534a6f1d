import { AssumeRoleCommand, STSClient, STSServiceException } from '@aws-sdk/client-sts';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { PodferryError } from '../../proto/errors.ts';
import type { Store } from '../../proto/gen/agent/v1/agent.ts';
import type { StoreRole } from '../config.ts';
import { sessionPolicy } from './session-policy.ts';

/** What a role that is assumed by a role may have at most; twice that is not needed by any move. */
const validSeconds = 3600;
const tries = 4;
const timeouts = { connectionTimeout: 5_000, requestTimeout: 10_000, throwOnRequestTimeout: true };

/** The store as one instance may use it. */
export interface ScopedStores {
  /**
   * @param keyPrefix of the instance, ending in a slash
   * @param name of the session, for the provider's logs
   * @throws PodferryError STORE_UNREACHABLE | STORE_DENIED | STORE_READ_FAILED | ANNOTATION_INVALID
   */
  storeFor(keyPrefix: string, name: string): Promise<Store>;
  close(): void;
}

/**
 * Gives each instance credentials that reach only what is below its prefix, by assuming a role under a policy for the session.
 * The operator's own credentials stay here.
 */
export function createScopedStores(store: Store, role: StoreRole): ScopedStores {
  const { accessKeyId, secretAccessKey, region, bucket } = store;
  const client = new STSClient({
    ...(role.stsEndpoint === undefined ? {} : { endpoint: role.stsEndpoint }),
    region,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: tries,
    requestHandler: new NodeHttpHandler(timeouts),
  });
  const partition = role.arn.split(':')[1] ?? 'aws';
  return {
    async storeFor(keyPrefix, name) {
      const command = new AssumeRoleCommand({
        RoleArn: role.arn,
        RoleSessionName: `podferry-${name}`.replaceAll(/[^\w+=,.@-]/g, '-').slice(0, 64),
        Policy: sessionPolicy(partition, bucket, keyPrefix),
        DurationSeconds: validSeconds,
      });
      const { Credentials: given } = await client.send(command).catch((error: unknown) => {
        throw stsError(error, role);
      });
      if (!given?.AccessKeyId || !given.SecretAccessKey || !given.SessionToken) {
        throw new PodferryError('STORE_READ_FAILED', `assuming ${role.arn}: the answer holds no credentials`);
      }
      return {
        ...store,
        accessKeyId: given.AccessKeyId,
        secretAccessKey: given.SecretAccessKey,
        sessionToken: given.SessionToken,
        validSeconds,
      };
    },
    close: () => client.destroy(),
  };
}

function stsError(error: unknown, { arn }: StoreRole): PodferryError {
  const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const status = error instanceof STSServiceException ? error.$metadata.httpStatusCode : undefined;
  const isRefusal = status !== undefined && status >= 400 && status < 500 && status !== 429;
  const code = isRefusal ? 'STORE_DENIED' : status === undefined ? 'STORE_UNREACHABLE' : 'STORE_READ_FAILED';
  return new PodferryError(code, `assuming ${arn}: ${said}`, { status }, { cause: error });
}
