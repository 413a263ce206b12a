/**
 * How long the files of a database are, and how much of them is garbage: rows that were replaced or
 * deleted since. A new generation is worth its cost when it removes as much as it writes. So each
 * byte is rewritten a bounded number of times, and loading new rows, which leaves no garbage,
 * rewrites nothing.
 */
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import type { RowTable } from '../../../core/providers/row-table.js';
import type { Row, RowAddress } from '../../../core/port/storage-provider.js';
import type { CompactionOptions } from './store-context.js';

/**
 * Once the journals are this many times as long as the snapshot, little garbage is enough: erased
 * data must not stay in the files of a database that only grows.
 */
const lengthFactor = 8;

/** Each start that writes leaves a journal. This many are merged at an opening… */
const journalsMax = 16;
/** …of a longer database one more for each of these bytes, because all of it is written. */
const bytesPerJournal = 1_024 * 1_024;

export interface RecoveredSizes {
  /** The journals after the snapshot. */
  readonly journals: number;
  readonly snapshotBytes: number;
  readonly journalBytes: number;
  readonly garbageBytes: number;
}

/** Whether the journals are so many that a new generation is worth its cost. */
export const hasManyJournals = ({ journals, snapshotBytes, journalBytes }: RecoveredSizes): boolean =>
  journals > journalsMax + (snapshotBytes + journalBytes) / bytesPerJournal;

export class FileSizes {
  #snapshot: number;
  /** Journals after the snapshot, without the current one. */
  #journals: number;
  #garbage: number;
  /** Of it, what the compaction in progress removes. */
  #removing = 0;
  /** After a failure, the length of the journals at which the next compaction begins. */
  #retry = 0;

  constructor(recovered?: RecoveredSizes) {
    this.#snapshot = recovered?.snapshotBytes ?? 0;
    this.#journals = recovered?.journalBytes ?? 0;
    this.#garbage = recovered?.garbageBytes ?? 0;
  }

  /** `current`: the bytes of the current journal. */
  total(current: number): number {
    return this.#snapshot + this.#journals + current;
  }

  isDue(current: number, { ratio, minimumBytes }: CompactionOptions): boolean {
    const journals = this.#journals + current;
    if (this.#garbage === 0 || journals < Math.max(minimumBytes, this.#retry)) return false;
    const needed = this.total(current) - this.#garbage;
    const longBytes = Math.max(minimumBytes, this.#snapshot) * lengthFactor * ratio;
    return this.#garbage >= needed * ratio || journals >= longBytes;
  }

  leftGarbage(bytes: number): void {
    this.#garbage += bytes;
  }

  closedJournal(bytes: number): void {
    this.#journals += bytes;
  }

  /** From here on, what becomes garbage is in the new snapshot. */
  beganGeneration(): void {
    this.#removing = this.#garbage;
  }

  compacted(snapshotBytes: number): void {
    this.#snapshot = snapshotBytes;
    this.#journals = 0;
    this.#garbage -= this.#removing;
    this.#retry = 0;
  }

  /** `again`: whether another attempt may succeed. */
  failedToCompact(current: number, again: boolean): void {
    this.#retry = again ? (this.#journals + current) * 2 : Number.POSITIVE_INFINITY;
  }
}

/** Applies effects to the rows; returns the bytes that are garbage in the files from then on. */
export function applyEffects(table: RowTable, effects: readonly RowEffect[]): number {
  let garbage = 0;
  for (const { address, row } of effects) {
    const before = table.set(address, row);
    if (before !== undefined) garbage += bytesOf(address, before);
    if (row === undefined) garbage += bytesOf(address, undefined);
  }
  return garbage;
}

/**
 * The names in a line, version, times and the head of a commit. Rather too many: with too few, the
 * garbage of small rows would never be as much as the rest.
 */
const lineBytes = 200;

/** About what a row, or its deletion, takes in a file. */
function bytesOf({ container, entity, key }: RowAddress, row: Row | undefined): number {
  const bytes = lineBytes + container.length + entity.length + Buffer.byteLength(key);
  if (row?.value.kind === 'json') return bytes + Buffer.byteLength(row.value.text);
  return row?.value.kind === 'bytes' ? bytes + row.value.bytes.length * (4 / 3) : bytes;
}
