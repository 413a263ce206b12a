import { Logger } from '@nestjs/common';
import { isStorageError } from '../../core/base/errors.js';
import { isError } from '../../core/base/kinds.js';
import { outsideRequests } from './outside-requests.js';

const sweepLimit = 1_000;

interface Sweepable {
  sweep(limit?: number): Promise<number>;
}

/**
 * Removes expired rows now and then, page by page until none is left. A failure is logged, and the
 * next turn tries again.
 */
export class Sweeper {
  readonly #storage: Sweepable;
  readonly #everyMs: number;
  readonly #logger = new Logger('KeyValueStorage');
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;
  #stopped = false;

  constructor(storage: Sweepable, everyMs: number) {
    this.#storage = storage;
    this.#everyMs = everyMs;
  }

  /** The timer keeps no process alive. */
  start(): void {
    if (this.#stopped) return;
    outsideRequests(() => {
      this.#timer = setTimeout(() => {
        this.#sweeping = this.sweep().finally(() => this.start());
      }, this.#everyMs).unref();
    });
  }

  /** No further page begins; waits for the one under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#sweeping;
  }

  /** One turn. Never rejects. */
  async sweep(): Promise<void> {
    try {
      while (!this.#stopped && (await this.#storage.sweep(sweepLimit)) > 0);
    } catch (error) {
      // closing and sweeping may meet; that is no failure
      if (this.#stopped && isStorageError(error, 'STORAGE_NOT_OPEN')) return;
      this.#logger.error(
        'Expired rows could not be removed; the next turn tries again.',
        isError(error) ? error.stack : String(error),
      );
    }
  }
}
