/**
 * Marks beside the copies of a migration, where these are in another database than their entries:
 * no batch can write a copy and check its entry too. A mark says that the row of its key is a copy,
 * and that no run has compared it with its entry since. It is committed with the copy, so it has
 * the same version, and stays where a process is killed.
 */
import type { StorageAccess } from '../commit/storage-access.js';
import { textDigest } from '../encoding/text-digest.js';
import type { Address, Change, Space, Version } from '../port/storage-provider.js';
import { taskContainerOf } from './migration-position.js';
import type { ResolvedState } from './state-definition.js';

/** `key`: of the entry, encoded; `version`: the one that was copied. */
export interface CopyMark {
  readonly key: string;
  readonly version: Version;
}

const batchRows = 200;

export class CopyMarks {
  readonly #access: StorageAccess;
  readonly #space: Space;
  /** From where to where, as JSON; others may have the same digest. */
  readonly #way: string;
  readonly #signal: AbortSignal | undefined;

  /** `way`: from where to where. `access`, `state` and `database`: of the copies. */
  constructor(
    way: readonly string[],
    access: StorageAccess,
    state: ResolvedState,
    database: string,
    signal: AbortSignal | undefined,
  ) {
    this.#way = JSON.stringify(way);
    this.#access = access;
    // `!` is in the name of no state
    this.#space = { database, container: taskContainerOf(state), entity: `!${textDigest(this.#way)}` };
    this.#signal = signal;
  }

  /** For the batch of a copy. */
  put(key: string): Change {
    const value = { kind: 'json', text: this.#way } as const;
    return { kind: 'put', address: this.#addressOf(key), value, ttl: 'never' };
  }

  /** Those that are left, page by page. */
  async *pages(): AsyncGenerator<readonly CopyMark[], void, undefined> {
    const range = { ...this.#space, limit: batchRows };
    for await (const { rows } of this.#access.scanPages(range, { signal: this.#signal })) {
      const own = rows.filter(({ row: { value } }) => value.kind === 'json' && value.text === this.#way);
      if (own.length > 0) yield own.map(({ key, row: { version } }) => ({ key, version }));
    }
  }

  /** Removes marks, but for those that a later copy has put. */
  async remove(marks: readonly CopyMark[]): Promise<void> {
    for (let start = 0; start < marks.length; start += batchRows)
      await this.#removeBatch(marks.slice(start, start + batchRows));
  }

  async #removeBatch(marks: readonly CopyMark[]): Promise<void> {
    const { database } = this.#space;
    const checks = marks.map(({ key, version }) => ({
      address: this.#addressOf(key),
      expected: { version },
    }));
    const changes = marks.map(({ key }) => ({ kind: 'delete', address: this.#addressOf(key) }) as const);
    const { outcome } = await this.#access.commit(database, { checks, changes }, { signal: this.#signal });
    // another run has removed a mark, or has copied its entry again
    if (outcome === 'conflict' && marks.length > 1) for (const mark of marks) await this.#removeBatch([mark]);
  }

  #addressOf(key: string): Address {
    return { ...this.#space, key };
  }
}
