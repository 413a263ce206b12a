/**
 * Which process is which. A pid alone names nobody: it is given out again. With the moment its
 * process was started (and, for a server, its data directory) it does. JavaScript, because
 * `test/run.mjs` needs it without a compiler.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/**
 * One process, to be recognised later; `machine` is where its pid means something.
 *
 * @typedef {{ readonly pid: number, readonly startedAt: string, readonly machine: string }} Identity
 */

const linux = process.platform === 'linux';

/**
 * The pids of two containers that share a folder are not each other's: nor are those of before and
 * after a reboot.
 */
const machine = linux
  ? `${attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())} ${attempt(() => readlinkSync('/proc/self/ns/pid'))}`
  : 'here';

/**
 * @param {number} pid
 * @returns {Identity | undefined} nothing when there is no such process, or only its zombie
 */
export function identify(pid) {
  const startedAt = linux ? linuxStart(pid) : ps(pid, 'lstart');
  return startedAt === undefined || startedAt === '' ? undefined : { pid, startedAt, machine };
}

/** @returns {Identity} this process */
export function self() {
  const identity = identify(process.pid);
  if (identity === undefined) throw new Error('This process cannot be seen: there is neither /proc nor ps.');
  return identity;
}

/** @param {Identity} identity */
export function isRunning(identity) {
  return identity.machine === machine && identify(identity.pid)?.startedAt === identity.startedAt;
}

/**
 * Whether this process could know: what is elsewhere may well be running.
 * @param {Identity} identity
 */
export function isOfThisMachine(identity) {
  return identity.machine === machine;
}

/** @param {number} pid @returns {string} the words it was started with, or '' */
export function commandOf(pid) {
  if (!linux) return ps(pid, 'command') ?? '';
  return attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')) ?? '';
}

/** @param {number} pid @returns {readonly Identity[]} */
export function childrenOf(pid) {
  return (linux ? linuxChildren(pid) : psChildren(pid)).flatMap((child) => identify(child) ?? []);
}

/**
 * Sends a signal to that very process, if it is still there.
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
 * What follows the name, which may hold blanks and brackets itself: state, parent, …
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
 * What is gone meanwhile is an answer here, not an error.
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
