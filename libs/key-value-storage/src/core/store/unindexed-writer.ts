/**
 * Holds the indexes of a state unready while a writer changes entries without their index rows: the
 * command line, which does not have the functions of the indexes.
 *
 * The writer puts a row beside the statuses of the indexes, with a time to live. While that row is
 * there, no process begins a build, and none makes an index ready. After it, the writer makes each
 * status unready, which ends the builds that were under way, and waits until no reader relies on an
 * earlier status. The value of the row names the first of the writers that held it without a gap:
 * while it is the same, no index was made ready.
 */
import { systemClock, type Clock } from '../base/clock.js';
import { isStorageError, storageError } from '../base/errors.js';
import { indexSeparator } from '../encoding/index-encoding.js';
import type {
  Batch,
  CommitResult,
  Row,
  RowAddress,
  Space,
  StorageProvider,
} from '../port/storage-provider.js';
import { versionSource } from '../port/version.js';
import { indexContainerOf } from './index-definition.js';
import { unreadyIndexes } from './index-status-row.js';
import { isStateSpace } from './state-space.js';

/** How long the row stays after a writer that was killed. */
const holdTtlMs = 10_000;
/** Long before the end of the row. */
const renewAfterMs = 2_000;
/** Longer than a process relies on the status of an index. */
const leaveMs = 1_000;
const attemptsMax = 20;

type Part = Pick<Batch, 'checks' | 'changes'>;

interface Hold {
  /** Names the first of the writers that held the row without a gap. */
  readonly since: string;
  /** Of the row as this writer put it. */
  readonly version: string;
  /** Whether this writer put the row where there was none. */
  readonly isFirst: boolean;
  /** By the monotonic clock. */
  readonly renewAt: number;
}

export class UnindexedWriter {
  readonly #provider: StorageProvider;
  readonly #space: Space;
  readonly #row: RowAddress;
  readonly #clock: Clock;
  readonly #nextVersion = versionSource();
  #hold: Hold | undefined;

  constructor(provider: StorageProvider, space: Space) {
    this.#provider = provider;
    this.#space = space;
    this.#row = { container: indexContainerOf(space.container), entity: space.entity, key: indexSeparator };
    this.#clock = provider.clock ?? systemClock;
  }

  /**
   * Makes the indexes unready, and keeps them so until `end`, or for 10 s after the last `keep`.
   * Writes nothing for a counter. Nothing but statuses is changed where it fails.
   */
  async begin(signal: AbortSignal): Promise<void> {
    if (!isStateSpace(this.#space)) return;
    // an engine of one process has no other that could build
    const { shared } = this.#provider.features;
    if (shared) await this.#takeRow(signal);
    const hasIndexes = await this.#makeUnready(signal);
    if (shared && hasIndexes) await this.#clock.wait(leaveMs, signal);
  }

  /** Renews the hold where it is older than 2 s. Begins anew where it has lapsed. */
  async keep(signal: AbortSignal): Promise<void> {
    const hold = this.#hold;
    if (hold === undefined || this.#clock.monotonic() < hold.renewAt) return;
    if (!(await this.#takeRow(signal))) await this.begin(signal);
  }

  /**
   * Commits a batch without index rows, and ends the hold. Begins anew where the hold has lapsed,
   * so that an index that was built since does not miss the batch.
   */
  async commit(
    { checks, changes }: Part,
    signal: AbortSignal,
  ): Promise<{ readonly version: string; readonly result: CommitResult | undefined }> {
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const hold = this.#hold;
      if (hold === undefined) return await this.#send({ checks, changes }, signal);
      const row = await this.#readRow(signal);
      if (row === undefined || sinceOf(row) !== hold.since) {
        await this.begin(signal);
        continue;
      }
      const isOnly = hold.isFirst && row.version === hold.version;
      const held = { address: this.#row, expected: { version: row.version } } as const;
      const release = isOnly ? [{ kind: 'delete', address: this.#row } as const] : [];
      const batch = { checks: [...checks, held], changes: [...changes, ...release] };
      const sent = await this.#send(batch, signal);
      if (sent.result?.outcome === 'conflict' && this.#isRow(sent.result.address)) continue;
      return sent;
    }
    throw this.#keptChanging();
  }

  /**
   * Ends the hold, so that the next process that uses the indexes builds them. Where it cannot, or
   * where another writer has the row too, the row ends by itself.
   */
  async end(): Promise<void> {
    const hold = this.#hold;
    this.#hold = undefined;
    if (hold?.isFirst !== true) return;
    const checks = [{ address: this.#row, expected: { version: hold.version } }] as const;
    try {
      await this.#send({ checks, changes: [{ kind: 'delete', address: this.#row }] });
    } catch {
      // see above
    }
  }

  /** Puts the row, or renews that of another writer. False where the earlier hold has lapsed. */
  async #takeRow(signal: AbortSignal): Promise<boolean> {
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const begun = this.#clock.monotonic();
      const before = this.#hold;
      const row = await this.#readRow(signal);
      const version = this.#nextVersion();
      const since = row === undefined ? JSON.stringify(version) : sinceOf(row);
      const isOwn = before?.isFirst === true && before.version === row?.version;
      const value = { kind: 'json', text: since } as const;
      const expected = row === undefined ? ('absent' as const) : { version: row.version };
      const checks = [{ address: this.#row, expected }];
      const put = { kind: 'put', address: this.#row, value, ttl: holdTtlMs } as const;
      if (!(await this.#isCommitted({ checks, changes: [put] }, signal, version))) continue;
      const isFirst = row === undefined || isOwn;
      this.#hold = { since, version, isFirst, renewAt: begun + renewAfterMs };
      return since === before?.since;
    }
    throw this.#keptChanging();
  }

  /** Whether the state has indexes. */
  async #makeUnready(signal: AbortSignal): Promise<boolean> {
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const batch = await unreadyIndexes(this.#provider, this.#space);
      if (batch.changes.length === 0) return false;
      if (await this.#isCommitted(batch, signal)) return true;
    }
    throw this.#keptChanging();
  }

  async #readRow(signal: AbortSignal): Promise<Row | undefined> {
    const address = { database: this.#space.database, ...this.#row };
    return (await this.#provider.read([address], { signal })).rows[0];
  }

  /** False after a lost answer too: no entry was tried, and what was written is read again. */
  async #isCommitted(part: Part, signal: AbortSignal, version?: string): Promise<boolean> {
    try {
      return (await this.#send(part, signal, version)).result?.outcome === 'committed';
    } catch (error) {
      if (isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN')) return false;
      throw error;
    }
  }

  async #send(
    part: Part,
    signal?: AbortSignal,
    version: string = this.#nextVersion(),
  ): Promise<{ readonly version: string; readonly result: CommitResult | undefined }> {
    const batch = { database: this.#space.database, version, ...part };
    const [result] = await this.#provider.commit([batch], { ...(signal && { signal }) });
    if (result?.outcome === 'failed') throw result.error;
    return { version, result };
  }

  #isRow({ container, entity, key }: RowAddress): boolean {
    return container === this.#row.container && entity === this.#row.entity && key === this.#row.key;
  }

  #keptChanging(): Error {
    return storageError(
      'STORAGE_UNAVAILABLE',
      'Nothing was written: the statuses of the indexes of the state kept changing.',
      {},
    );
  }
}

const sinceOf = ({ value }: Row): string => (value.kind === 'json' ? value.text : '');
