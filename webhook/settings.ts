/** What the injection is told by the webhook's configuration; a new CA replaces the whole value. */
export interface Settings {
  readonly agentImage: string;
  /** host:port of the operator's hub, as agents dial it. */
  readonly operatorAddress: string;
  /** Name in the operator's certificate, whatever the address is. */
  readonly serverName: string;
  /** PEM of one or more CA certificates that agents trust for the operator. */
  readonly caPem: string;
  /** The server has init containers that stay (restartPolicy Always): the agent is one of them. */
  readonly nativeSidecars: boolean;
  /** Limits and requests of our containers in pods of the Guaranteed class. */
  readonly guaranteedResources: { readonly cpu: string; readonly memory: string };
}
