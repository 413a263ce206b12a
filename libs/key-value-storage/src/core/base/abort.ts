/**
 * Cancellation (law 12). A call that is queued takes no effect. A call that was handed to the
 * engine ends at once, with an unknown effect.
 */
import { storageError, type StorageError } from './errors.js';
import { onAbort } from './on-abort.js';

export function aborted(
  what: string,
  effect: 'none' | 'unknown',
  signal: AbortSignal,
): StorageError<'ABORTED'> {
  const then = effect === 'none' ? 'Nothing was changed.' : 'It was sent; whether it took effect is unknown.';
  return storageError(
    'ABORTED',
    `${what} was aborted by the caller. ${then}`,
    {},
    { effect, cause: signal.reason },
  );
}

export function throwIfAborted(what: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw aborted(what, 'none', signal);
}

/**
 * The result of the work, or `ABORTED` once the signal aborts; the work itself continues. Without a
 * signal it is the work, so that a call has one async frame less.
 */
export const untilAborted = <R>(
  what: string,
  effect: 'none' | 'unknown',
  signal: AbortSignal | undefined,
  work: Promise<R>,
): Promise<R> => (signal === undefined ? work : endedBy(what, effect, signal, work));

async function endedBy<R>(
  what: string,
  effect: 'none' | 'unknown',
  signal: AbortSignal,
  work: Promise<R>,
): Promise<R> {
  let leave: (() => void) | undefined;
  const end = new Promise<never>((_, reject) => {
    leave = onAbort(signal, () => reject(aborted(what, effect, signal)));
  });
  try {
    return await Promise.race([work, end]);
  } finally {
    leave?.();
    work.catch(() => undefined);
  }
}
