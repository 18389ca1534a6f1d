/** A line of /proc/PID/mountinfo; paths are byte strings (latin1). */
export interface Mount {
  readonly id: number;
  /** Of its file system: `major:minor`. */
  readonly device: string;
  /** Root of the mount within its file system. */
  readonly root: string;
  readonly point: string;
  readonly fsType: string;
  readonly superOptions: readonly string[];
}

/**
 * Parses /proc/PID/mountinfo, read as latin1.
 * @see proc_pid_mountinfo(5): optional fields end at "-"; blanks and backslashes in paths are octal
 */
export function parseMountinfo(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [left, right] = line.split(' - ');
    const [id, , device, root, point] = left?.split(' ') ?? [];
    const [fsType, , superOptions] = right?.split(' ') ?? [];
    if (id === undefined || device === undefined || root === undefined) return [];
    if (point === undefined || fsType === undefined) return [];
    const paths = { root: unescapeOctal(root), point: unescapeOctal(point) };
    return [{ id: Number(id), device, ...paths, fsType, superOptions: superOptions?.split(',') ?? [] }];
  });
}

function unescapeOctal(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
