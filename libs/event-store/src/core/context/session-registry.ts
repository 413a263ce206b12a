/**
 * The sessions of an event store that are open in this process: at its end none is opened any more,
 * and none is left behind.
 */
import { storageError } from '@kvent/key-value-storage/provider';

/** What an event store can do with a session that nobody will close. */
interface RegisteredSession {
  /**
   * Aborts its signal with the reason, waits for what it is doing, and lets the stream go. Never
   * rejects: the lock ends by itself after its time.
   */
  terminate(why: Error): Promise<void>;
}

export class SessionRegistry {
  readonly #open = new Set<RegisteredSession>();
  #accepting = true;
  #ended = false;

  /** `STORAGE_NOT_OPEN` once no session is opened any more. */
  assertAccepting(what: string): void {
    if (!this.#accepting) throw closing(what);
  }

  add(session: RegisteredSession): void {
    this.#open.add(session);
    // it was being opened while the others were ended
    if (this.#ended) void session.terminate(closing('stream'));
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
    await Promise.all([...this.#open].map(async (session) => await session.terminate(closing('stream'))));
  }
}

const closing = (what: string) =>
  storageError(
    'STORAGE_NOT_OPEN',
    `No session is held at the ${what} any more: the event store is closing.`,
    {},
  );
