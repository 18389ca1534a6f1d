import type { Criu } from './command.ts';

/** Of CRIU's restore, in the images directory. */
export const restoreLogName = 'restore.log';

/** An fd that the restored processes get in place of one they had: CRIU's fd number, and what the source's was. */
export interface InheritedFd {
  readonly fd: number;
  /** `pipe:[4711]` */
  readonly link: string;
}

/** Arguments of the restore whose missing pages a filler puts in (pages/filler.ts): detached, and stopped until someone sends SIGCONT. */
export function restoreArgs(criu: Criu, imagesDir: string, inherited: readonly InheritedFd[]): string[] {
  return [
    'restore',
    ...['-d', '--leave-stopped', '--lazy-pages', '-D', criu.pathFor(imagesDir), '-o', restoreLogName, '-v2'],
    ...['--tcp-close', '--file-locks', '--manage-cgroups=ignore'],
    ...inherited.flatMap(({ fd, link }) => ['--inherit-fd', `fd[${fd}]:${link}`]),
  ];
}
