import type { Order } from '../../proto/gen/agent/v1/agent.ts';
import { errorFields } from '../../proto/logging.ts';
import type { ProcessId } from '../launch/proc-stat.ts';
import type { LogFile } from '../store/logs.ts';
import { sealingOf } from '../store/sealing.ts';
import type { How } from '../telemetry/figures.ts';
import { keepLogs } from '../telemetry/keep-logs.ts';
import type { OrderContext } from './context.ts';

/** What of an order is kept beside its checkpoint, when the order says so. */
export interface OrderLogs {
  /** For whoever runs CRIU. */
  readonly collect: { readonly onLogs?: (logs: readonly LogFile[]) => void };
  /** Stores what was collected, and the figures, when the application's first process is not stopped any more. Returns at once. */
  readonly keep: (what: KeptLogs) => void;
}

export interface KeptLogs {
  readonly root: ProcessId | undefined;
  /** Settles when everything was collected. */
  readonly figures?: (how: How) => Promise<LogFile> | LogFile;
}

const noLogs: OrderLogs = { collect: {}, keep: () => undefined };

export function newLogs({ options, checkpoint }: Order, { home, log }: Pick<OrderContext, 'home' | 'log'>): OrderLogs {
  if (options?.logUpload !== true || home === undefined || checkpoint === undefined) return noLogs;
  const { store, welcome } = home;
  const collected: LogFile[] = [];
  return {
    collect: { onLogs: (logs) => void collected.push(...logs) },
    keep: ({ root, figures }) => {
      const logs = async (): Promise<readonly LogFile[]> => {
        try {
          const made = figures === undefined ? [] : [await figures(options)];
          return [...collected, ...made];
        } catch (error) {
          // The drain has failed, which others tell.
          log.debug('the logs of this order are without figures', errorFields(error));
          return collected;
        }
      };
      const place = { store, keyPrefix: welcome.keyPrefix, checkpoint: checkpoint.id, sealing: sealingOf(welcome) };
      void keepLogs({ ...place, root, logs, log });
    },
  };
}
