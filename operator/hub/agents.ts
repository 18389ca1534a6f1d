import type { AgentState, Hello, Order } from '../../proto/gen/agent/v1/agent.ts';
import { AppPhase } from '../../proto/gen/agent/v1/agent.ts';
import type { Clock } from '../clock.ts';

/** The pod for which a stream may speak; proven by its token. */
export interface PodIdentity {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

/** What is known of a pod's agent. */
export interface AgentView {
  readonly isConnected: boolean;
  /** What it said of itself and its node. */
  readonly hello: Hello;
  /** Its last word; undefined until the first one. */
  readonly state: AgentState | undefined;
  /** Since when (our clock) its application is in the phase of `state`; after a new connection: since then. */
  readonly phaseSinceMs: number;
  /** When it connected or, while it is not connected, when it was lost. */
  readonly sinceMs: number;
}

/** How the hub speaks on one stream. */
export interface AgentStream {
  send(order: Order): void;
  close(reason: string): void;
}

/** The hub's end of a registration. */
export interface Registration {
  report(state: AgentState): void;
  lost(): void;
}

export interface Agents {
  /** Takes the place of an older stream of the same pod, which is closed. */
  register(pod: PodIdentity, hello: Hello, stream: AgentStream): Registration;
  view(podUid: string): AgentView | undefined;
  /**
   * Sends an order to the agent when it is connected. The same order is not repeated on the same stream within a few
   * seconds, so that planning it again and again costs nothing.
   */
  order(podUid: string, order: Order): void;
  /** The pod is gone: ends its stream and forgets it. */
  forget(podUid: string): void;
  onChange(listener: (pod: PodIdentity) => void): void;
  closeAll(reason: string): void;
}

interface Entry {
  readonly pod: PodIdentity;
  readonly stream: AgentStream | undefined;
  readonly view: AgentView;
  readonly sent: { readonly mark: string; readonly atMs: number } | undefined;
}

const repeatAfterMs = 5_000;

/** The agents' last words and ways to reach them, in memory: after a restart they connect and say everything again. */
export function createAgents(clock: Clock): Agents {
  const entries = new Map<string, Entry>();
  const listeners: ((pod: PodIdentity) => void)[] = [];

  function set(entry: Entry): void {
    entries.set(entry.pod.uid, entry);
    for (const listener of listeners) listener(entry.pod);
  }

  return {
    register(pod, hello, stream) {
      const before = entries.get(pod.uid);
      before?.stream?.close('replaced by a newer stream of the same pod');
      const nowMs = clock.now();
      set({
        pod,
        stream,
        sent: undefined,
        view: { isConnected: true, hello, state: undefined, phaseSinceMs: nowMs, sinceMs: nowMs },
      });
      return {
        report(state) {
          const entry = entries.get(pod.uid);
          if (entry?.stream !== stream) return;
          const isSame = entry.view.state?.phase === state.phase;
          set({
            ...entry,
            view: { ...entry.view, state, phaseSinceMs: isSame ? entry.view.phaseSinceMs : clock.now() },
          });
        },
        lost() {
          const entry = entries.get(pod.uid);
          if (entry?.stream !== stream) return;
          set({ ...entry, stream: undefined, view: { ...entry.view, isConnected: false, sinceMs: clock.now() } });
        },
      };
    },

    view: (podUid) => entries.get(podUid)?.view,

    order(podUid, order) {
      const entry = entries.get(podUid);
      if (entry?.stream === undefined) return;
      const mark = `${order.migrationUid}/${order.attempt}/${order.kind}`;
      if (entry.sent?.mark === mark && clock.now() - entry.sent.atMs < repeatAfterMs) return;
      entries.set(podUid, { ...entry, sent: { mark, atMs: clock.now() } });
      entry.stream.send(order);
    },

    forget(podUid) {
      const entry = entries.get(podUid);
      if (entry === undefined) return;
      entries.delete(podUid);
      entry.stream?.close('the pod is gone');
    },

    onChange: (listener) => {
      listeners.push(listener);
    },

    closeAll(reason) {
      for (const { stream } of entries.values()) stream?.close(reason);
    },
  };
}

/** The application runs, as far as its agent says. */
export function isRunning(view: AgentView | undefined): boolean {
  return view?.isConnected === true && view.state?.phase === AppPhase.APP_PHASE_RUNNING;
}
