/** Reports the progress of a copy, and aborts it on its signal. */
import { throwIfAborted } from '../core/base/abort.js';
import { safely } from '../core/base/safely.js';
import type { CopyProgress, CopyStorageOptions } from './copy-options.js';
import type { RawRow } from '../core/port/storage-provider.js';

const everyRows = 500;

export class CopyReporter {
  readonly #listener: CopyStorageOptions['onProgress'];
  readonly #signal: AbortSignal | undefined;

  constructor({ onProgress, signal }: CopyStorageOptions) {
    this.#listener = onProgress;
    this.#signal = signal;
  }

  /**
   * Starts a step. Call `row` for each row: it throws `ABORTED` once the signal aborts. `end`
   * returns the number of rows.
   */
  startStep(step: Omit<CopyProgress, 'rows' | 'space'>): {
    readonly row: (raw: RawRow) => void;
    readonly end: () => number;
  } {
    let rows = 0;
    let last: RawRow | undefined;
    const report = (): void => {
      const space = last && { database: step.database, container: last.container, entity: last.entity };
      safely(() => this.#listener?.({ ...step, rows, space }));
    };
    throwIfAborted('The copy', this.#signal);
    report();
    return {
      row: (raw) => {
        throwIfAborted('The copy', this.#signal);
        last = raw;
        rows += 1;
        if (rows % everyRows === 0) report();
      },
      end: () => {
        report();
        return rows;
      },
    };
  }
}
