/** The open sessions of an event store, so that its end leaves no lock behind. */
import { storageError } from '@kvent/key-value-storage/provider';

interface RegisteredSession {
  /**
   * Aborts the session's signal with the reason, waits for its current call, and closes it. Never
   * rejects: where closing fails, the lock expires after its time.
   */
  terminate(reason: Error): Promise<void>;
}

export class SessionRegistry {
  readonly #open = new Set<RegisteredSession>();
  #accepting = true;
  #ended = false;

  /** `STORAGE_NOT_OPEN` once no session may be opened. */
  assertAccepting(name: string): void {
    if (!this.#accepting) throw closingError(name);
  }

  add(session: RegisteredSession): void {
    this.#open.add(session);
    // it was opened while the others were terminated
    if (this.#ended) void session.terminate(closingError('stream'));
  }

  delete(session: RegisteredSession): void {
    this.#open.delete(session);
  }

  refuse(): void {
    this.#accepting = false;
  }

  async end(): Promise<void> {
    this.#accepting = false;
    this.#ended = true;
    await Promise.all(
      [...this.#open].map(async (session) => await session.terminate(closingError('stream'))),
    );
  }
}

const closingError = (name: string) =>
  storageError('STORAGE_NOT_OPEN', `The event store is closing: no session can be held on the ${name}.`, {});
