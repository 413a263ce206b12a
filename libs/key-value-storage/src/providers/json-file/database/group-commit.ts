/**
 * Group commit: the commits that go to disk with one write and one sync. They are evaluated one
 * after the other, each on the rows that the ones before it in the group leave.
 */
import type { SteadyTime, StoredTime } from '../../../core/base/clock.js';
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import { isError, messageOf } from '../../../core/base/kinds.js';
import type { RowTable } from '../../../core/providers/row-table.js';
import type { Row, RowAddress } from '../../../core/port/storage-provider.js';
import { ChangedRows, deleted } from './changed-rows.js';
import type { CommitQueue, QueuedCommit } from './commit-queue.js';
import { CommitLines, type SpareBuffer } from '../format/commit-lines.js';
import type { GroupPositions } from './store-feed.js';

/** A group is closed at this size, so that small commits do not wait for megabytes of others. */
const groupBytesMax = 8 * 1_024 * 1_024;

interface GroupedCommit {
  readonly commit: QueuedCommit;
  readonly result: unknown;
  /** Whether it changes rows; if not, it depends on rows that others of the group change. */
  readonly writes: boolean;
}

export class CommitGroup {
  readonly lines: CommitLines;
  readonly effects: RowEffect[] = [];
  readonly positions: GroupPositions;
  readonly #commits: GroupedCommit[] = [];
  /** Commits that change nothing and depend on nothing in this group. */
  readonly #ready: Omit<GroupedCommit, 'writes'>[] = [];
  /** The number of its last commit. */
  last: number;
  /** The latest time of its commits. */
  latest: StoredTime = { time: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY };
  readonly #onDisk: number;
  readonly #table: RowTable;
  readonly #changed = new ChangedRows();
  /** Whether the commit that is evaluated has read a row that the group changes. */
  #dependent = false;

  constructor(table: RowTable, onDisk: number, positions: GroupPositions, spare: SpareBuffer) {
    this.#table = table;
    this.lines = new CommitLines(spare);
    this.positions = positions;
    this.#onDisk = onDisk;
    this.last = onDisk;
  }

  /** Evaluates queued commits in order, each at the current time. */
  fill(queue: CommitQueue, time: SteadyTime): void {
    while (this.lines.length < groupBytesMax && queue.size > 0) {
      const commit = queue.dequeue() as QueuedCommit;
      try {
        this.#evaluate(commit, time);
      } catch (error) {
        commit.reject(isError(error) ? error : new Error(messageOf(error)));
      }
    }
  }

  readonly #rowBefore = (address: RowAddress): Row | undefined => {
    const changed = this.effects.length === 0 ? undefined : this.#changed.get(address);
    if (changed === undefined) return this.#table.get(address);
    this.#dependent = true;
    return changed === deleted ? undefined : changed;
  };

  #evaluate(commit: QueuedCommit, time: SteadyTime): void {
    this.#dependent = false;
    const now = time.now();
    const { effects, result } = commit.evaluate(this.#rowBefore, now, this.positions);
    const writes = effects.length > 0;
    if (writes) {
      this.#add(effects, { time: now, wall: time.wall });
      time.stored(now);
    }
    if (writes || this.#dependent) this.#commits.push({ commit, result, writes });
    else this.#ready.push({ commit, result });
  }

  #add(effects: readonly RowEffect[], { time, wall }: StoredTime): void {
    const number = this.last + 1;
    this.lines.add({ kind: 'commit', number, onDisk: this.#onDisk, time, wall, effects });
    this.last = number;
    if (time >= this.latest.time) this.latest = { time, wall };
    for (const effect of effects) {
      this.#changed.set(effect.address, effect.row);
      this.effects.push(effect);
    }
  }

  /** Resolves the commits that depend only on rows on disk, once the lock is verified. */
  async resolveReady(verifyOwner: () => Promise<void>): Promise<void> {
    if (this.#ready.length === 0) return;
    try {
      await verifyOwner();
      for (const { commit, result } of this.#ready) commit.resolve(result);
    } catch (error) {
      for (const { commit } of this.#ready) commit.reject(error);
    }
  }

  resolve(): void {
    for (const { commit, result } of this.#commits) commit.resolve(result);
  }

  /** `dependentError`: for the commits that wrote nothing themselves. */
  reject(error: unknown, dependentError: unknown): void {
    for (const { commit, writes } of this.#commits) commit.reject(writes ? error : dependentError);
  }
}
