import { createHash } from 'node:crypto';
import { apiVersion, fieldManager } from '../../proto/names.ts';
import { errorFields, type Log } from '../../proto/logging.ts';
import type { Clock } from '../clock.ts';
import type { CustomKind } from './apply.ts';
import { paths, type KubeClient } from './client.ts';
import { isAlreadyExists } from './errors.ts';

/** What an Event is about. */
export interface Subject {
  readonly kind: CustomKind | 'Pod' | 'Deployment';
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface EventText {
  readonly type: 'Normal' | 'Warning';
  /** PascalCase. */
  readonly reason: string;
  readonly message: string;
}

export interface Events {
  /**
   * Tells of a change. The same text about the same object is one Event however often it is told.
   * Never fails: an Event that cannot be written is logged, and the work goes on.
   */
  tell(subject: Subject, text: EventText): Promise<void>;
}

const apiVersionOf: Readonly<Record<Subject['kind'], string>> = {
  Migration: apiVersion,
  Checkpoint: apiVersion,
  MigratableApp: apiVersion,
  Pod: 'v1',
  Deployment: 'apps/v1',
};

const maxMessageChars = 1_000;

export function createEvents(client: KubeClient, clock: Clock, log: Log): Events {
  return {
    async tell(subject, text) {
      const now = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
      const mark = createHash('sha256')
        .update(JSON.stringify([subject, text]))
        .digest('hex')
        .slice(0, 16);
      try {
        await client.call({
          method: 'POST',
          path: paths.eventsIn(subject.namespace),
          query: { fieldManager },
          body: {
            apiVersion: 'v1',
            kind: 'Event',
            metadata: { name: `${subject.name.slice(0, 200)}.${mark}`, namespace: subject.namespace },
            involvedObject: { apiVersion: apiVersionOf[subject.kind], ...subject },
            type: text.type,
            reason: text.reason,
            message: text.message.slice(0, maxMessageChars),
            source: { component: fieldManager },
            firstTimestamp: now,
            lastTimestamp: now,
            count: 1,
          },
        });
      } catch (error) {
        if (!isAlreadyExists(error)) log.warn('event not written', { ...errorFields(error), reason: text.reason });
      }
    },
  };
}
