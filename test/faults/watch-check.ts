/**
 * What must be true of the states that watches have shown, given the writes that were acknowledged:
 *
 * - **Last**: the last state of each key was shown, and no item of a key is older than the one
 *   before.
 * - **Not outdated**: no item lacks a state that was acknowledged before the item's read began.
 * - **Not late**: between the acknowledgement of a state and its item, or that of a later one, the
 *   process waited no longer than one poll. What it waited is the time in which it ran and read
 *   nothing: while it does not run, because others have the processor, it cannot poll, and a read
 *   takes as long as the storage engine needs.
 *
 * A state counts as committed when it, or a later state of its key, was acknowledged to its writer:
 * so an acknowledgement that the writer noticed late makes no item wrong.
 */
import {
  watchedKeys,
  tickMs,
  type ViewLog,
  type WatchKind,
  type WatchLog,
  type WriteLog,
} from './watch-view.js';

/** Milliseconds, of all keys and states. */
interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}
export interface ViewReport {
  readonly kind: WatchKind;
  readonly items: number;
  /** From the acknowledgement of a state to the first item that is not older. */
  readonly delayMs: Spread;
  /** Of an item: for how long a newer state had been acknowledged when it was shown. */
  readonly ageMs: Spread;
  /** Of the delays, what the process waited, at most. */
  readonly waitedMsMost: number;
  /** The share of time in which a read was in progress. */
  readonly reading: number;
  readonly violations: {
    readonly lost: number;
    readonly back: number;
    readonly outdated: number;
    readonly late: number;
  };
}

/** By key: of each count from 0 on, when it was committed at the latest. */
export type CommittedBy = readonly (readonly number[])[];

/** Throws if a key does not have each count once: then a write is lost, whatever a watch shows. */
export function committedBy(logs: readonly WriteLog[]): CommittedBy {
  const times: number[][] = watchedKeys.map(() => [Number.NEGATIVE_INFINITY]);
  for (const log of logs)
    for (let index = 0; index < log.length; index += 3) {
      const [key, count, at] = log.slice(index, index + 3) as [number, number, number];
      const ofKey = times[key] as number[];
      if (ofKey[count] !== undefined)
        throw new Error(`Two writes of ${watchedKeys[key]} made count ${count}.`);
      ofKey[count] = at;
    }
  for (const [key, ofKey] of times.entries())
    for (let count = ofKey.length - 2; count >= 0; count -= 1) {
      if (ofKey[count] === undefined) throw new Error(`No write of ${watchedKeys[key]} made count ${count}.`);
      ofKey[count] = Math.min(ofKey[count] as number, ofKey[count + 1] as number);
    }
  return times;
}

/** The timers of ticks and polls are up to a tick apart, at both ends of a wait. */
const apartMs = 3 * tickMs;

export function checkWatches(
  { pollMs, ticks, views }: WatchLog,
  committed: CommittedBy,
): readonly ViewReport[] {
  return views.map((view) => checkView(view, committed, { pollMs, ticks }));
}

function checkView(
  { kind, items, shows, reads }: ViewLog,
  committed: CommittedBy,
  { pollMs, ticks }: { readonly pollMs: number; readonly ticks: readonly number[] },
): ViewReport {
  const [delays, ages] = [[], []] as [number[], number[]];
  let waitedMsMost = 0;
  const violations = { lost: 0, back: 0, outdated: 0, late: 0 };
  const idle = new IdleTime(ticks, reads);
  const shown = watchedKeys.map(() => -1);
  for (let index = 0; index < items.length; index += 4) {
    const [key, count, readAt, at] = items.slice(index, index + 4) as [number, number, number, number];
    const [before, ofKey] = [shown[key] as number, committed[key] as readonly number[]];
    const nextBy = ofKey[count + 1] ?? Number.POSITIVE_INFINITY;
    if (count < before) violations.back += 1;
    if (nextBy < readAt) violations.outdated += 1;
    ages.push(Math.max(0, at - nextBy));
    for (let newer = Math.max(before, 0) + 1; newer <= count; newer += 1) {
      const by = ofKey[newer] as number;
      const waited = at - by > pollMs ? idle.between(by, at) : Math.max(0, at - by);
      delays.push(Math.max(0, at - by));
      waitedMsMost = Math.max(waitedMsMost, waited);
      if (waited > pollMs + apartMs) violations.late += 1;
    }
    // items of `watchMany` without a change of the key
    const lastShow = before < 0 ? undefined : lastBefore(shows, readAt);
    if (lastShow !== undefined && (ofKey[before + 1] ?? Number.POSITIVE_INFINITY) < lastShow)
      violations.outdated += 1;
    shown[key] = Math.max(before, count);
  }
  for (const [key, count] of shown.entries())
    if (count !== (committed[key] as readonly number[]).length - 1) violations.lost += 1;
  return {
    kind,
    items: items.length / 4,
    delayMs: spreadOf(delays),
    ageMs: spreadOf(ages),
    waitedMsMost,
    reading: idle.reading,
    violations,
  };
}

/** The last number below the limit, of a list in order. */
function lastBefore(list: readonly number[], limit: number): number | undefined {
  return list[indexFrom(list, limit) - 1];
}

/** The index of the first number that is not below the limit, of a list in order. */
function indexFrom(list: readonly number[], limit: number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle] as number) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The time in which a process ran, and had no read in progress. */
class IdleTime {
  /** Begins and ends of the times in which it read, merged and in order. */
  readonly #begins: number[] = [];
  readonly #ends: number[] = [];
  readonly #ticks: readonly number[];
  readonly reading: number;

  constructor(ticks: readonly number[], reads: readonly number[]) {
    this.#ticks = ticks;
    const pairs = Array.from({ length: reads.length / 2 }, (_, index) =>
      reads.slice(2 * index, 2 * index + 2),
    );
    let total = 0;
    for (const [begin, end] of (pairs as [number, number][]).toSorted(([one], [other]) => one - other)) {
      const last = this.#ends.at(-1);
      if (last === undefined || begin > last) {
        this.#begins.push(begin);
        this.#ends.push(end);
        total += end - begin;
      } else if (end > last) {
        this.#ends[this.#ends.length - 1] = end;
        total += end - last;
      }
    }
    this.reading = total / ((ticks.at(-1) ?? 0) - (ticks[0] ?? 0));
  }

  /** Of the time between two ticks, a tick at most. */
  between(from: number, to: number): number {
    let [time, at] = [0, from];
    for (let index = indexFrom(this.#ticks, from); at < to; index += 1) {
      const next = Math.min(this.#ticks[index] ?? Number.POSITIVE_INFINITY, to);
      time += Math.min(this.#notReading(at, next), tickMs);
      at = next;
    }
    return time;
  }

  #notReading(from: number, to: number): number {
    let time = to - from;
    for (let index = indexFrom(this.#ends, from); (this.#begins[index] ?? to) < to; index += 1)
      time -= Math.min(this.#ends[index] as number, to) - Math.max(this.#begins[index] as number, from);
    return time;
  }
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).sort();
  const at = (fraction: number): number => sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
