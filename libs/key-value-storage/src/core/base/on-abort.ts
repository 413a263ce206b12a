/**
 * Follows a signal without leaving anything with it. In place of `AbortSignal.any`: on Node 20,
 * each call of that leaves something with a signal that lives long, for as long as the signal
 * lives.
 */

/** The listener of a signal, and what it calls. */
interface Followers {
  readonly all: Set<() => void>;
  readonly abortAll: () => void;
}

/** Node warns of a leak when a signal has more than ten listeners: so each has one. */
const followersOf = new WeakMap<AbortSignal, Followers>();

/**
 * Calls `abort` once the signal aborts, at once where it has. Nothing is left with the signal after
 * the call of the returned function.
 */
export function onAbort(signal: AbortSignal, abort: () => void): () => void {
  if (signal.aborted) {
    abort();
    return () => undefined;
  }
  const { all, abortAll } = followersOf.get(signal) ?? firstFollowers(signal);
  if (all.size === 0) signal.addEventListener('abort', abortAll, { once: true });
  all.add(abort);
  return () => {
    if (all.delete(abort) && all.size === 0) signal.removeEventListener('abort', abortAll);
  };
}

function firstFollowers(signal: AbortSignal): Followers {
  const all = new Set<() => void>();
  const abortAll = (): void => {
    for (const abort of all) abort();
  };
  const followers = { all, abortAll };
  followersOf.set(signal, followers);
  return followers;
}
