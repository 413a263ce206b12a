/**
 * Identifies a process, so that another one can find out whether it still runs. A pid alone is not
 * enough: it is reused after a restart and in containers.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessIdentity {
  readonly host: string;
  /**
   * The boot of the machine, and the namespace of its pids; '' if unknown, and then no process
   * counts as gone.
   */
  readonly boot: string;
  readonly namespace: string;
  readonly pid: number;
  /** When it started, in clock ticks of the machine. */
  readonly started: string;
}

export interface Processes {
  readonly own: ProcessIdentity;
  /** Whether a process has certainly ended: it is of this boot and namespace, and does not run. */
  isGone(process: ProcessIdentity): boolean;
}

export function systemProcesses(): Processes {
  const own: ProcessIdentity = {
    host: hostname(),
    boot: attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    namespace: attempt(() => readlinkSync('/proc/self/ns/pid')),
    pid: process.pid,
    started: startOf(process.pid).started,
  };
  return { own, isGone: (other) => isGone(other, own) };
}

/** Whether `own` can find out if the other process runs: it is of this boot and namespace. */
export const canSee = (own: ProcessIdentity, { boot, namespace }: ProcessIdentity): boolean =>
  boot !== '' && namespace !== '' && boot === own.boot && namespace === own.namespace;

function isGone(other: ProcessIdentity, own: ProcessIdentity): boolean {
  if (!canSee(own, other)) return false;
  if (!Number.isSafeInteger(other.pid) || other.pid <= 0) return false;
  if (!exists(other.pid)) return true;
  const { state, started } = startOf(other.pid);
  // a zombie does not run; another start time is another process
  return (
    state === 'Z' || state === 'X' || (started !== '' && other.started !== '' && started !== other.started)
  );
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/**
 * Fields 3 and 22 of `/proc/<pid>/stat`, after the name in parentheses, which may contain anything.
 */
function startOf(pid: number): { readonly state: string; readonly started: string } {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', started: fields[19] ?? '' };
}

function attempt(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
