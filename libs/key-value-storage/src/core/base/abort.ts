/**
 * Cancellation (law 12): still queued, it takes no effect; once handed to the engine, the call ends
 * at once and its effect is unknown.
 */
import { storageError, type StorageError } from './errors.js';

export function aborted(
  what: string,
  effect: 'none' | 'unknown',
  signal: AbortSignal,
): StorageError<'ABORTED'> {
  const then =
    effect === 'none' ? 'Nothing was changed.' : 'It was on its way: whether it was done is not known.';
  return storageError(
    'ABORTED',
    `${what} was aborted by its caller. ${then}`,
    {},
    { effect, cause: signal.reason },
  );
}

export function throwIfAborted(what: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw aborted(what, 'none', signal);
}

/**
 * The answer of work that is under way, or `ABORTED` with this effect as soon as the signal says
 * so; the work itself goes on.
 */
export async function untilAborted<R>(
  what: string,
  effect: 'none' | 'unknown',
  signal: AbortSignal | undefined,
  work: Promise<R>,
): Promise<R> {
  if (signal === undefined) return await work;
  let stop: (() => void) | undefined;
  const end = new Promise<never>((_, reject) => {
    stop = () => reject(aborted(what, effect, signal));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, end]);
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
    work.catch(() => undefined);
  }
}
