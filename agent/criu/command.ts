/** One run of CRIU as spawn takes it. */
export interface CriuRun {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Builds a run from CRIU's own arguments; args[0] is the action. It adds the namespaces, the loader and the options that keep
 * CRIU from executing or loading anything of the application (launch/app-namespace.ts).
 */
export type CriuCommand = (args: readonly string[]) => CriuRun;

/** CRIU as it is to be run for one application. */
export interface Criu {
  readonly command: CriuCommand;
  /** A path of this process as the CRIU process sees it. */
  readonly pathFor: (path: string) => string;
}
