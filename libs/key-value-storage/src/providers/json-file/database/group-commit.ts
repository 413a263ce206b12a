/**
 * What goes to disk with one write and one sync: work judged one after the other, each seeing what
 * those before it in the group leave behind.
 */
import type { SteadyTime, StoredTime } from '../../../core/base/clock.js';
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import { storageError } from '../../../core/base/errors.js';
import { limits } from '../../../core/base/limits.js';
import { utf8Length } from '../../../core/base/utf8-length.js';
import type { RowTable } from '../../../core/providers/row-table.js';
import type { Row, RowAddress } from '../../../core/port/storage-provider.js';
import type { CommitQueue, Work } from './commit-queue.js';
import { nameOf } from './frozen-view.js';
import { lineBody } from '../format/journal-line.js';

/** A group closes at this size, so that nobody waits for megabytes of others. */
const groupBytesMax = 8 * 1_024 * 1_024;

/**
 * A longer line would be written, and cut when it is read. The limits above the port keep batches
 * far below it.
 */
function assertReadable(line: string): void {
  const allowed = limits.journalLineBytesMax - sealBytes;
  if (line.length * 3 <= allowed) return;
  const given = utf8Length(line);
  if (given <= allowed) return;
  throw storageError(
    'LIMIT_EXCEEDED',
    `A batch of ${given} bytes as a line of the journal is over the limit of ${allowed}.`,
    {
      limit: 'journalLineBytesMax',
      given,
      allowed,
    },
  );
}

/** Room for the sum in front of a line. */
const sealBytes = 64;

interface Waiting {
  readonly work: Work;
  readonly answer: unknown;
  /** Whether it wrote: else it only rests on what others of the group wrote. */
  readonly wrote: boolean;
}

export class CommitGroup {
  readonly lines: string[] = [];
  readonly effects: RowEffect[] = [];
  readonly waiting: Waiting[] = [];
  /** What rests on nothing of this group. */
  readonly #ready: Pick<Waiting, 'work' | 'answer'>[] = [];
  /** The number of its last commit. */
  last: number;
  /** The latest time of its commits. */
  latest: StoredTime = { time: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY };
  readonly #onDisk: number;
  readonly #table: RowTable;
  readonly #pending = new Map<string, Row | undefined>();
  #bytes = 0;

  constructor(table: RowTable, onDisk: number) {
    this.#table = table;
    this.#onDisk = onDisk;
    this.last = onDisk;
  }

  /** Judges what waits, in order, by the time as its turn comes. */
  fill(queue: CommitQueue, time: SteadyTime): void {
    while (this.#bytes < groupBytesMax) {
      const work = queue.take();
      if (work === undefined) return;
      try {
        this.#judge(work, time);
      } catch (error) {
        work.fail(error);
      }
    }
  }

  #judge(work: Work, time: SteadyTime): void {
    let rests = false;
    const now = time.now();
    const rowBefore = (address: RowAddress): Row | undefined => {
      if (this.#pending.size === 0) return this.#table.get(address);
      const name = nameOf(address);
      if (!this.#pending.has(name)) return this.#table.get(address);
      rests = true;
      return this.#pending.get(name);
    };
    const { effects, answer } = work.judge(rowBefore, now);
    if (effects.length > 0) {
      this.#add(effects, { time: now, wall: time.wall });
      time.stored(now);
    }
    if (effects.length > 0 || rests) this.waiting.push({ work, answer, wrote: effects.length > 0 });
    else this.#ready.push({ work, answer });
  }

  #add(effects: readonly RowEffect[], { time, wall }: StoredTime): void {
    const line = lineBody({
      kind: 'commit',
      number: this.last + 1,
      onDisk: this.#onDisk,
      time,
      wall,
      effects,
    });
    assertReadable(line);
    this.last += 1;
    if (time >= this.latest.time) this.latest = { time, wall };
    this.lines.push(line);
    this.#bytes += line.length;
    for (const effect of effects) {
      this.#pending.set(nameOf(effect.address), effect.row);
      this.effects.push(effect);
    }
  }

  /**
   * Answers what rests on rows that are on disk already, once it is certain that they are still
   * ours.
   */
  async answerReady(verifyOwner: () => Promise<void>): Promise<void> {
    if (this.#ready.length === 0) return;
    try {
      await verifyOwner();
      for (const { work, answer } of this.#ready) work.answer(answer);
    } catch (error) {
      for (const { work } of this.#ready) work.fail(error);
    }
  }

  answer(): void {
    for (const { work, answer } of this.waiting) work.answer(answer);
  }

  /**
   * `wrote`: for those whose own lines went to the disk; `rested`: for those that wrote nothing.
   */
  fail(wrote: unknown, rested: unknown): void {
    for (const each of this.waiting) each.work.fail(each.wrote ? wrote : rested);
  }
}
