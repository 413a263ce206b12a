/** Tells whoever listens how far a copy is, and breaks it off when they ask for it. */
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
   * A step begins. `row` hears of each row and throws `ABORTED` when it is time; `end` answers how
   * many there were.
   */
  begin(step: Omit<CopyProgress, 'rows' | 'space'>): {
    readonly row: (raw: RawRow) => void;
    readonly end: () => number;
  } {
    let rows = 0;
    let last: RawRow | undefined;
    const tell = (): void => {
      const space = last && { database: step.database, container: last.container, entity: last.entity };
      safely(() => this.#listener?.({ ...step, rows, space }));
    };
    throwIfAborted('The copy', this.#signal);
    tell();
    return {
      row: (raw) => {
        throwIfAborted('The copy', this.#signal);
        last = raw;
        rows += 1;
        if (rows % everyRows === 0) tell();
      },
      end: () => {
        tell();
        return rows;
      },
    };
  }
}
