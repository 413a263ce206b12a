/**
 * Copies entries of one state into another store, while others read and write both. A copy has the
 * version of its entry, so that it is recognised, but it is written later: its time must never
 * count as that of a later write. So in one database, the batch of a copy checks its entry. In two
 * databases no batch can; the entry is read again after the copy, and a mark stays until it was.
 */
import { throwIfAborted } from '../base/abort.js';
import type { Key } from '../base/key.js';
import { conflictError, type ConflictedBatch } from '../commit/commit.js';
import type { Address, Check, Row, StoredValue, TimeToLive, Version } from '../port/storage-provider.js';
import { rowNameOf } from '../port/row-name.js';
import { CopyMarks, type CopyMark } from './copy-marks.js';
import type { StateRows } from './state-rows.js';
import { storedKey } from './stored-key.js';

type CopyOutcome = 'written' | 'unchanged' | 'newer' | 'skipped';

/** An entry as it was read. */
interface EntryRead {
  readonly row: Row;
  /** By the clock of its storage. */
  readonly time: number;
  /** The monotonic clock before the read. */
  readonly readAt: number;
}

interface Changed {
  readonly changed: ConflictedBatch;
}

interface StateCopyOptions<T, K extends Key> {
  readonly from: StateRows<T, K>;
  readonly database: string;
  readonly to: StateRows<unknown, K>;
  readonly targetDatabase: string;
  readonly change: ((value: T, key: K) => unknown) | undefined;
  readonly signal: AbortSignal | undefined;
}

/** An entry that is written all the time keeps its mark: the next run copies it again. */
const roundsMax = 10;

export class StateCopy<T, K extends Key = Key> {
  /** Whether a batch of a copy checks its entry too. Then nothing is left to compare. */
  readonly isOneDatabase: boolean;
  /** Copies that were written again or deleted, because their entries had changed. */
  repeated = 0;
  readonly #options: StateCopyOptions<T, K>;
  readonly #marks: CopyMarks;

  constructor(options: StateCopyOptions<T, K>) {
    const { from, database, to, targetDatabase, signal } = options;
    this.isOneDatabase = from.access.provider === to.access.provider && database === targetDatabase;
    const { name } = from.access.provider;
    const way = [name, database, from.state.container, from.state.entity, to.state.entity];
    this.#options = options;
    this.#marks = new CopyMarks(way, to.access, to.state, targetDatabase, signal);
  }

  /**
   * Copies an entry, unless the other store has it, or has a row that was written later. In two
   * databases, a copy that was written must be compared: `compare`. `copied`: the version of an
   * earlier copy, which is no later write.
   */
  async copy(from: Address, scanned: EntryRead, copied?: Version): Promise<CopyOutcome> {
    const { attempts } = this.#options.from.access.retry;
    let entry: EntryRead | undefined = scanned;
    for (let attempt = 1; entry !== undefined; attempt += 1) {
      const stored = await this.#valueFor(from, entry.row);
      if (stored === undefined) return 'skipped';
      const outcome = await this.#put(from, entry, stored, copied);
      if (typeof outcome === 'string') return outcome;
      if (attempt === attempts) throw conflictError(outcome.changed, 'own');
      entry = await this.#read(from);
    }
    return 'skipped';
  }

  /** The copies that no run has compared, of one that was killed. */
  uncompared(): AsyncIterable<readonly CopyMark[]> {
    return this.#marks.pages();
  }

  /**
   * Compares copies with their entries: of one that was written since, a copy is written again; of
   * one that was deleted, or that `change` now leaves out, the copy is deleted, unless it was
   * overwritten. `attempt` gets the work on each of these.
   */
  async compare(
    copies: readonly CopyMark[],
    attempt: (from: Address, work: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    const { from, signal } = this.#options;
    for (let [left, round] = [copies, 1]; left.length > 0 && round <= roundsMax; round += 1) {
      throwIfAborted('A migration', signal);
      const entries = left.map(({ key }) => this.#entryAt(key));
      const { rows } = await from.access.read(entries, { values: 'omit', signal });
      const isSame = left.map(({ version }, index) => rows[index]?.version === version);
      await this.#marks.remove(left.filter((_, index) => isSame[index]));
      const again: CopyMark[] = [];
      for (const [index, copy] of left.entries())
        if (isSame[index] === false)
          await attempt(entries[index] as Address, async () => {
            const next = await this.#repeat(copy);
            if (next !== undefined) again.push(next);
          });
      left = again;
    }
  }

  /** The next copy, which is to be compared too. */
  async #repeat(copy: CopyMark): Promise<CopyMark | undefined> {
    const from = this.#entryAt(copy.key);
    const entry = await this.#read(from);
    const outcome = entry === undefined ? 'skipped' : await this.copy(from, entry, copy.version);
    if (outcome === 'written') this.repeated += 1;
    if (entry !== undefined && outcome === 'written') return { key: copy.key, version: entry.row.version };
    // the entry is gone, has expired, or `change` leaves it out now
    if (outcome === 'skipped') await this.#remove(from, copy);
    await this.#marks.remove([copy]);
    return undefined;
  }

  /** What others have written over the copy stays. */
  async #remove(from: Address, { version }: CopyMark): Promise<void> {
    const { to, signal } = this.#options;
    const address = this.#targetOf(from);
    const { row } = await to.access.readOne(address, { signal });
    if (row?.version !== version) return;
    await to.change({ kind: 'delete', address }, { version }, { signal }, row);
    this.repeated += 1;
  }

  async #valueFor(from: Address, row: Row): Promise<StoredValue | undefined> {
    const { from: source, to, change } = this.#options;
    const key = storedKey<K>(from);
    const value = await source.codec.decode(from, row.value);
    const changed = change === undefined ? value : await change(value, key);
    return changed === undefined ? undefined : (await to.codec.encode(key, changed)).stored;
  }

  /** `changed`: the entry is not the one that was read. */
  async #put(
    from: Address,
    entry: EntryRead,
    value: StoredValue,
    copied: Version | undefined,
  ): Promise<CopyOutcome | Changed> {
    const { to, targetDatabase, signal } = this.#options;
    const address = this.#targetOf(from);
    const { version, updatedAt } = entry.row;
    const policy = { ...to.access.retry, ...(signal && { signal }) };
    return await to.retry<CopyOutcome | Changed>(address, policy, async () => {
      const there = await to.access.readOne(address, { signal });
      const { row } = there;
      if (row?.version === version) {
        if (row.expiresAt !== undefined) await this.#renew(address, entry, row.expiresAt - there.time);
        return 'unchanged';
      }
      // in the same millisecond, the entry is later: it may have waited for its own copy
      if (row !== undefined && row.version !== copied && row.updatedAt > updatedAt) return 'newer';
      const ttl = this.#ttlOf(from, entry);
      if (ttl === undefined) return 'skipped';
      const put = { kind: 'put', address, value, ttl } as const;
      const checks: Check[] = [
        { address, expected: row === undefined ? 'absent' : { version: row.version } },
      ];
      if (this.isOneDatabase) checks.push({ address: from, expected: { version } });
      const changes = this.isOneDatabase ? [put] : [put, this.#marks.put(from.key)];
      const batch = { checks, changes };
      const result = await to.commit(targetDatabase, batch, { signal, version }, undefined, row);
      if (result.outcome === 'conflict') {
        // in two databases, both rows may have one name
        const isOfEntry = this.isOneDatabase && rowNameOf(result.address) === rowNameOf(from);
        if (isOfEntry) return { changed: result };
        throw conflictError(result, 'own');
      }
      if (typeof ttl === 'number') await this.#renew(address, entry, ttl);
      return 'written';
    });
  }

  /**
   * In one database the expiry of the entry, and the TTL of its renewals. In two, what is left of
   * its time, which would be all that a sliding entry is renewed by: the copy of one counts as a
   * read, and begins with its whole TTL. `undefined`: it has expired.
   */
  #ttlOf(from: Address, entry: EntryRead): TimeToLive | undefined {
    if (this.isOneDatabase) return { keepElse: 'never', of: from };
    const left = this.#leftOf(entry);
    if (left === undefined) return 'never';
    if (left <= 0) return undefined;
    return this.#options.to.state.sliding ? (entry.row.ttlMs ?? left) : left;
  }

  /** Whole milliseconds until the entry expires. */
  #leftOf({ row: { expiresAt }, time, readAt }: EntryRead): number | undefined {
    if (expiresAt === undefined) return undefined;
    return Math.floor(expiresAt - time - (this.#options.from.access.clock.monotonic() - readAt));
  }

  /**
   * Moves the expiry of a copy to that of its entry, which was renewed since, or was touched for
   * longer than its TTL; as reads do it, only where a tenth of its time is missing. `expiresIn`: of
   * the copy.
   */
  async #renew(address: Address, entry: EntryRead, expiresIn: number): Promise<void> {
    const ttlMs = this.#leftOf(entry);
    if (ttlMs === undefined || ttlMs - expiresIn < ttlMs / 10) return;
    const { to, signal } = this.#options;
    const { version } = entry.row;
    await to.change({ kind: 'renew', address, ttlMs }, { version }, { signal });
  }

  async #read(from: Address): Promise<EntryRead | undefined> {
    const { access } = this.#options.from;
    const readAt = access.clock.monotonic();
    const { row, time } = await access.readOne(from, { signal: this.#options.signal });
    return row && { row, time, readAt };
  }

  #entryAt(key: string): Address {
    const { from, database } = this.#options;
    const { container, entity } = from.state;
    return { database, container, entity, key };
  }

  #targetOf(from: Address): Address {
    const { to, targetDatabase } = this.#options;
    return to.address(storedKey(from), targetDatabase);
  }
}
