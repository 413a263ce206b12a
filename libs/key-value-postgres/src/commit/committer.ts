/**
 * Commits batches: each is parsed by the first plan that takes it, sent together with others of its
 * kind, and has a result of its own. A statement that the server refuses (a row is held, data is
 * bad, a trigger or a policy refuses a row) is undone by the server and repeated batch by batch, so
 * that one batch does not fail its neighbours. Where rows are held, only their batches are sent
 * alone.
 */
import type { Batch, CommitResult, RowAddress } from '@kvent/key-value-storage/provider';
import {
  commitErrorOf,
  hasFormerBase,
  isAboutStatement,
  isFastPathFailure,
  isLockTimeout,
  unavailable,
} from '../connections/failure.js';
import type { Columns } from '../sql/decode-row.js';
import { appendPlan } from './append-plan.js';
import { DatabasePermits, type PermitWait } from '../connections/database-permits.js';
import { generalPlan } from './general-plan.js';
import { LockWait, type LockWaitOptions } from './lock-wait.js';
import { numberRuns, NumberRuns } from './number-run.js';
import type { FastPath, Item, Plan, Request } from './plan.js';
import { renewPlan } from './renew-plan.js';
import { rowPlan } from './row-plan.js';

interface CommitterOptions extends LockWaitOptions {
  /** The time of a given clock, as the last parameter of a statement. */
  readonly time: () => readonly number[];
  /** Batches of one statement at most. */
  readonly groupMax: number;
  /** Connections that batches of refused statements may use at once, before they wait. */
  readonly aloneMax: number;
  /** The committer with the base that the feed has now. */
  readonly present: () => Promise<Committer>;
  /** Called with the results of each commit. */
  readonly committed: (results: readonly CommitResult[], batches: readonly Batch[]) => void;
}

/** Called while batches are in flight, with their index. */
export interface CommitObserver {
  /** The batch has its result; others may have none yet. */
  readonly answered?: ((index: number, result: CommitResult) => void) | undefined;
  /** The batch waits for this row, and holds no other. */
  readonly waiting?: ((index: number, row: RowAddress) => void) | undefined;
}

/** Batches that are sent together. */
interface Group {
  readonly plan: Plan;
  readonly fastPath: FastPath | undefined;
  /** Whether all change the same number. */
  readonly isRun: boolean;
  readonly items: Item[];
  /** Of the batches in the call. */
  readonly indexes: number[];
  rows: number;
}

/**
 * Rows of one statement at most, where batches are of several: more take longer than they save. A
 * batch is never split.
 */
const groupRowsMax = 64;

/** How long a batch waits for a row, once it has waited with its group, in milliseconds. */
const aloneLockMs = 10;

export class Committer {
  readonly #options: CommitterOptions;
  readonly #general: Plan;
  /** The first that parses a batch takes it; the general plan takes the rest. */
  readonly #plans: readonly Plan[];
  readonly #runs: NumberRuns;
  readonly #lockWait: LockWait;
  /** For the batches of refused statements: a group of them must not take the whole pool. */
  readonly #alone: DatabasePermits;

  constructor(options: CommitterOptions) {
    const { dialect, name } = options;
    this.#options = options;
    this.#general = generalPlan(dialect);
    this.#plans = [
      rowPlan(dialect, this.#general),
      appendPlan(dialect, this.#general),
      renewPlan(dialect, name),
    ];
    this.#runs = new NumberRuns(dialect);
    this.#alone = new DatabasePermits(options.aloneMax);
    this.#lockWait = new LockWait(options, this.#alone);
  }

  async commit(batches: readonly Batch[], observer: CommitObserver = {}): Promise<readonly CommitResult[]> {
    const groups = this.#groupsOf(batches);
    const [only] = groups;
    if (groups.length === 1 && only !== undefined) await this.#commitGroup(only, observer);
    else
      await Promise.all(
        groups.map(async (group) => {
          await this.#commitGroup(group, observer);
          // its callers can go on while the server works on other groups
          for (const [place, index] of group.indexes.entries())
            observer.answered?.(index, group.items[place]?.result as CommitResult);
        }),
      );
    const results: CommitResult[] = [];
    for (const { items, indexes } of groups)
      for (const [place, index] of indexes.entries()) results[index] = items[place]?.result as CommitResult;
    this.#options.committed(results, batches);
    return results;
  }

  #groupsOf(batches: readonly Batch[]): readonly Group[] {
    const groups: Group[] = [];
    /** By plan, or by fast path. */
    const open = new Map<object, Group>();
    const inRuns = new Set<number>();
    for (const run of batches.length > 1 ? numberRuns(batches) : []) {
      for (const index of run) inRuns.add(index);
      groups.push(
        this.#groupOfRun(
          run.map((index) => batches[index] as Batch),
          run,
        ),
      );
    }
    for (const [index, batch] of batches.entries()) {
      if (inRuns.has(index)) continue;
      const { plan, item } = this.#parse(batch);
      const fastPath = plan.fastPath?.(item);
      const rows = Math.max(batch.checks.length, batch.changes.length);
      let group = open.get(fastPath ?? plan);
      if (
        group === undefined ||
        group.items.length === this.#options.groupMax ||
        group.rows + rows > groupRowsMax
      ) {
        group = { plan, fastPath, isRun: false, items: [], indexes: [], rows: 0 };
        groups.push(group);
        open.set(fastPath ?? plan, group);
      }
      group.items.push(item);
      group.indexes.push(index);
      group.rows += rows;
    }
    return groups;
  }

  #groupOfRun(batches: readonly Batch[], indexes: readonly number[]): Group {
    const items = batches.map((batch): Item => ({ batch, result: undefined }));
    return { plan: this.#general, fastPath: undefined, isRun: true, items, indexes: [...indexes], rows: 1 };
  }

  #parse(batch: Batch): { readonly plan: Plan; readonly item: Item } {
    for (const plan of this.#plans) {
      const item = plan.parse(batch);
      if (item !== undefined) return { plan, item };
    }
    return { plan: this.#general, item: { batch, result: undefined } };
  }

  /** Sets the result of each item; never rejects. */
  #commitGroup(group: Group, observer: CommitObserver): Promise<void> {
    if (group.isRun) return this.#commitRun(group, observer);
    return group.items.length === 1
      ? this.#commitSingle(group, 0, observer)
      : this.#commitMany(group, observer);
  }

  async #commitMany(
    group: Group,
    observer: CommitObserver,
    places: readonly number[] = [...group.items.keys()],
  ): Promise<void> {
    const itemAt = (place: number): Item => group.items[place] as Item;
    try {
      await this.#send(group, places.map(itemAt), this.#options.shortLockMs);
    } catch (error) {
      const rest = places.filter((place) => itemAt(place).result === undefined);
      if (!isAboutStatement(error)) {
        for (const place of rest) itemAt(place).result = this.#failed(error);
        return;
      }
      const { held, unclear } = await this.#suspects(
        error,
        rest.map((place) => itemAt(place).batch),
      );
      const isFree = (place: number): boolean =>
        !held.has(itemAt(place).batch) && !unclear.has(itemAt(place).batch);
      const free = rest.filter(isFree);
      const answered = (place: number): void =>
        observer.answered?.(group.indexes[place] as number, itemAt(place).result as CommitResult);
      for (const place of places) if (itemAt(place).result !== undefined) answered(place);
      await Promise.all([
        free.length > 0 && this.#commitMany(group, observer, free).then(() => free.forEach(answered)),
        ...rest.map(async (place) => {
          if (isFree(place)) return;
          const { batch } = itemAt(place);
          await this.#commitSingle(group, place, observer, async (send) => {
            if (held.has(batch)) throw error;
            await this.#alone.run(batch.database, this.#permitWait, async () => await send(aloneLockMs));
          });
          answered(place);
        }),
      ]);
    }
  }

  get #permitWait(): PermitWait {
    const { name, lockTimeoutMs } = this.#options;
    const why = `${name}: a statement was refused, and each of its batches is repeated alone; this one had no turn within lockTimeoutMs (${lockTimeoutMs} ms)`;
    return { waitMs: lockTimeoutMs, late: () => unavailable(why) };
  }

  /** Because of which of these batches the server may have refused their statement. */
  async #suspects(error: unknown, batches: readonly Batch[]): ReturnType<LockWait['suspects']> {
    const all = { held: new Set<Batch>(), unclear: new Set(batches) };
    return isLockTimeout(error) ? await this.#lockWait.suspects(batches).catch(() => all) : all;
  }

  /**
   * Where the row is not there yet, the first batch creates it alone. A statement that the server
   * refuses is repeated batch by batch.
   */
  async #commitRun(group: Group, observer: CommitObserver): Promise<void> {
    let isTogether = true;
    for (const [place, item] of group.items.entries()) {
      if (isTogether && item.result === undefined) isTogether = await this.#sendRun(group, observer);
      if (item.result !== undefined) continue;
      await this.#commitSingle(group, place, observer);
      isTogether &&= isCommitted(item);
    }
  }

  /** Whether the server took the statement for what is left of a run. */
  async #sendRun({ items, indexes }: Group, { waiting }: CommitObserver): Promise<boolean> {
    const rest = items.filter(({ result }) => result === undefined);
    const [first] = rest as [Item];
    const send = async (lockMs: number): Promise<void> => {
      const request = this.#runs.request(rest, lockMs);
      request.accept(await this.#run(request));
    };
    try {
      await send(this.#options.shortLockMs).catch(async (error: unknown) => {
        if (!isLockTimeout(error)) throw error;
        await this.#lockWait.run(first.batch, send, (row) => {
          for (const [place, index] of indexes.entries())
            if (items[place]?.result === undefined) waiting?.(index, row);
        });
      });
      return true;
    } catch (error) {
      if (isAboutStatement(error) && !isLockTimeout(error)) return false;
      for (const item of rest) item.result = this.#failed(error);
      return false;
    }
  }

  /** `attempt`: what comes before the wait for a row that is held. */
  async #commitSingle(
    group: Group,
    place: number,
    observer: CommitObserver,
    attempt: (send: (lockMs: number) => Promise<void>) => Promise<void> = (send) =>
      send(this.#options.shortLockMs),
  ): Promise<void> {
    const item = group.items[place] as Item;
    const send = (lockMs: number): Promise<void> => this.#send(group, [item], lockMs);
    try {
      await attempt(send);
    } catch (error) {
      try {
        if (!isLockTimeout(error) || item.batch.noWait === true) throw error;
        await this.#lockWait.run(item.batch, send, (row) =>
          observer.waiting?.(group.indexes[place] as number, row),
        );
      } catch (last) {
        item.result = this.#failed(last);
      }
    }
  }

  /** Sets the results of these items of a group, or rejects with the error of the driver. */
  async #send({ plan, fastPath }: Group, items: readonly Item[], lockMs: number): Promise<void> {
    try {
      const fast = fastPath?.request(items, lockMs);
      if (fast !== undefined)
        try {
          fast.accept(await this.#run(fast));
        } catch (error) {
          if (!isFastPathFailure(error)) throw error;
        }
      const rest = fast === undefined ? items : unanswered(items);
      if (rest.length > 0) {
        const request = plan.request(rest, lockMs);
        request.accept(await this.#run(request));
      }
    } catch (error) {
      if (!hasFormerBase(error)) throw error;
      await this.#sendAgain(unanswered(items), lockMs, error);
    }
    fastPath?.observe(items);
  }

  /** With the base that the feed has now. */
  async #sendAgain(items: readonly Item[], lockMs: number, failed: unknown): Promise<void> {
    const present = await this.#options.present();
    if (present === this) throw failed;
    for (const group of present.#groupsOf(items.map(({ batch }) => batch)))
      try {
        await present.#send(group, group.items, lockMs);
      } finally {
        for (const [place, index] of group.indexes.entries())
          (items[index] as Item).result = group.items[place]?.result;
      }
  }

  #run({ statement, parameters, purpose = 'write' }: Request): Promise<readonly Columns[]> {
    const { session, time } = this.#options;
    return session.run(statement, [...parameters, ...time()], purpose);
  }

  #failed(error: unknown): CommitResult {
    return { outcome: 'failed', error: commitErrorOf(error, this.#options.name, 'write') };
  }
}

const unanswered = (items: readonly Item[]): readonly Item[] =>
  items.filter(({ result }) => result === undefined);

const isCommitted = ({ result }: Item): boolean => result?.outcome === 'committed';
