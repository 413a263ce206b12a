/** Work with a signal of its own, which ends with it. */
import { onAbort } from './on-abort.js';

/**
 * The result of the work. Its signal aborts with the signal of the caller, and once the work has
 * ended: so what the work has left running ends, such as the timer that lost a race.
 */
export async function withAbort<R>(
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  const own = new AbortController();
  const leave = signal && onAbort(signal, () => own.abort(signal.reason));
  try {
    return await work(own.signal);
  } finally {
    leave?.();
    own.abort();
  }
}
