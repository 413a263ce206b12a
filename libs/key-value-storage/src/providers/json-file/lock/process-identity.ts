/**
 * Which process this is, so that another one can tell whether it is still there: a pid alone comes
 * again, after a restart or in a container.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessIdentity {
  readonly host: string;
  /**
   * The boot of the machine, and the namespace of its pids; '' where they are not known: then
   * nobody is taken for gone.
   */
  readonly boot: string;
  readonly namespace: string;
  readonly pid: number;
  /** When it started, in the machine's own count. */
  readonly started: string;
}

export interface Processes {
  readonly own: ProcessIdentity;
  /** Whether a process is certainly gone: of this boot and namespace, and not there any more. */
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
  return { own, isGone: (judged) => isGone(judged, own) };
}

function isGone(judged: ProcessIdentity, own: ProcessIdentity): boolean {
  if (
    own.boot === '' ||
    own.namespace === '' ||
    judged.boot !== own.boot ||
    judged.namespace !== own.namespace
  )
    return false;
  if (!Number.isSafeInteger(judged.pid) || judged.pid <= 0) return false;
  if (!isThere(judged.pid)) return true;
  const { state, started } = startOf(judged.pid);
  // a zombie runs no more; another start time is another process
  return (
    state === 'Z' || state === 'X' || (started !== '' && judged.started !== '' && started !== judged.started)
  );
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/**
 * Fields 3 and 22 of `/proc/<pid>/stat`: the name before them is in parentheses and may hold
 * anything.
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
