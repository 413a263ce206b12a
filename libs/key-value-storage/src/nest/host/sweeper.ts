import { Logger } from '@nestjs/common';
import { isStorageError } from '../../core/base/errors.js';
import { isError } from '../../core/base/kinds.js';
import { outsideRequests } from './outside-requests.js';

const sweepLimit = 1_000;

interface Sweepable {
  sweep(limit?: number): Promise<number>;
}

/**
 * Removes expired rows at intervals, page by page until none is left. A failure is logged, and the
 * next sweep tries again.
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

  /** The timer does not keep the process alive. */
  start(): void {
    if (this.#stopped) return;
    outsideRequests(() => {
      this.#timer = setTimeout(() => {
        this.#sweeping = this.sweep().finally(() => this.start());
      }, this.#everyMs).unref();
    });
  }

  /** Begins no further page, and waits for the one in progress. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#sweeping;
  }

  /** One sweep. Never rejects. */
  async sweep(): Promise<void> {
    try {
      while (!this.#stopped && (await this.#storage.sweep(sweepLimit)) > 0);
    } catch (error) {
      // the storage may close during a sweep, which is no failure
      if (this.#stopped && isStorageError(error, 'STORAGE_NOT_OPEN')) return;
      this.#logger.error(
        'Expired rows could not be removed; the next sweep tries again.',
        isError(error) ? error.stack : String(error),
      );
    }
  }
}
