/**
 * The identity of processes. A pid alone is not enough, because it is reused: the start time
 * belongs to it (and for a server the data directory). JavaScript, because `test/run.mjs` needs it
 * without a compiler.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/**
 * A process that can be recognized later. `machine` is where its pid is valid.
 *
 * @typedef {{ readonly pid: number, readonly startedAt: string, readonly machine: string }} Identity
 */

const linux = process.platform === 'linux';

/** Pids differ between containers that share a folder, and between boots. */
const machine = linux
  ? `${attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())} ${attempt(() => readlinkSync('/proc/self/ns/pid'))}`
  : 'here';

/**
 * @param {number} pid
 * @returns {Identity | undefined} undefined if there is no such process, or only a zombie
 */
export function identify(pid) {
  const startedAt = linux ? linuxStart(pid) : ps(pid, 'lstart');
  return startedAt === undefined || startedAt === '' ? undefined : { pid, startedAt, machine };
}

/** @returns {Identity} this process */
export function self() {
  const identity = identify(process.pid);
  if (identity === undefined)
    throw new Error('This process cannot be identified: there is neither /proc nor ps.');
  return identity;
}

/** @param {Identity} identity */
export function isRunning(identity) {
  return identity.machine === machine && identify(identity.pid)?.startedAt === identity.startedAt;
}

/**
 * Whether this process can check the identity: a process on another machine may be running.
 * @param {Identity} identity
 */
export function isOfThisMachine(identity) {
  return identity.machine === machine;
}

/** @param {number} pid @returns {string} its command line, or '' */
export function commandOf(pid) {
  if (!linux) return ps(pid, 'command') ?? '';
  return attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')) ?? '';
}

/** @param {number} pid @returns {readonly Identity[]} */
export function childrenOf(pid) {
  return (linux ? linuxChildren(pid) : psChildren(pid)).flatMap((child) => identify(child) ?? []);
}

/**
 * Sends a signal to exactly this process, if it still runs.
 * @param {Identity} identity
 * @param {NodeJS.Signals} signal
 */
export function send(identity, signal) {
  if (isRunning(identity)) attempt(() => process.kill(identity.pid, signal));
}

/**
 * @param {readonly Identity[]} identities
 * @param {number} withinMs
 * @returns {Promise<boolean>} whether all of them have ended by then
 */
export async function ended(identities, withinMs) {
  const deadline = Date.now() + withinMs;
  while (identities.some(isRunning)) {
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return true;
}

/** @param {number} pid */
function linuxStart(pid) {
  const fields = linuxFields(pid);
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

/**
 * The fields after the name, which may contain blanks and brackets: state, parent, …
 * @param {number} pid
 */
function linuxFields(pid) {
  const line = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return line?.slice(line.lastIndexOf(')') + 2).split(' ');
}

/** @param {number} parent */
function linuxChildren(parent) {
  const pids = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
  return pids.filter((pid) => linuxFields(pid)?.[1] === String(parent));
}

/** @param {number} parent */
function psChildren(parent) {
  const lines =
    attempt(() => execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).split('\n')) ?? [];
  return lines.flatMap((line) => {
    const [pid, of] = line.trim().split(/\s+/);
    return of === String(parent) ? [Number(pid)] : [];
  });
}

/** @param {number} pid @param {string} column */
function ps(pid, column) {
  const line = attempt(() =>
    execFileSync('ps', ['-p', String(pid), '-o', `stat=,${column}=`], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    }).trim(),
  );
  return line === undefined || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '');
}

/**
 * A process that ends in between is not an error.
 * @template T
 * @param {() => T} work
 * @returns {T | undefined}
 */
function attempt(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}
