import { Logger } from '@nestjs/common';
import { isStorageError } from '../../core/base/errors.js';
import { isError } from '../../core/base/kinds.js';
import type { StorageProvider } from '../../core/port/storage-provider.js';
import { sweptBefore } from '../../core/port/sweep-parts.js';
import { outsideRequests } from './outside-requests.js';

const sweepLimit = 1_000;

/**
 * Removes the expired rows of a provider at intervals, page by page until none is left. Each
 * provider has its own, so that one that fails or hangs keeps no other from being swept. A failure
 * is logged, and the next sweep tries again; if it was of one database, this sweep continues until
 * the others have no expired row left.
 */
export class Sweeper {
  readonly #provider: Pick<StorageProvider, 'sweep'>;
  readonly #everyMs: number;
  readonly #logger = new Logger('KeyValueStorage');
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;
  #stopped = false;

  constructor(provider: Pick<StorageProvider, 'sweep'>, everyMs: number) {
    this.#provider = provider;
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
    const failures: unknown[] = [];
    for (let more = true; more && !this.#stopped;) {
      try {
        more = (await this.#provider.sweep(sweepLimit)) > 0;
      } catch (error) {
        failures.push(error);
        more = sweptBefore(error) > 0;
      }
    }
    if (failures.length > 0) this.#log(failures[0]);
  }

  #log(error: unknown): void {
    // the storage may close during a sweep, which is no failure
    if (this.#stopped && isStorageError(error, 'STORAGE_NOT_OPEN')) return;
    this.#logger.error(
      'Expired rows could not be removed; the next sweep tries again.',
      isError(error) ? error.stack : String(error),
    );
  }
}
