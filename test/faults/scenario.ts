/**
 * A workload of the JSON file on a simulated machine, with its histories: single commits, groups
 * with conflicts and readers, compaction, heartbeats, a clean close, a kill, a dropped database,
 * expiry; events in the feed, and a reader that goes on from process to process. After a fault it
 * ends the process, opens a new one, compares the rows with the histories and the feed with what
 * was read of it, and continues.
 */
import { isStorageError, type Clock } from '../../libs/key-value-storage/src/core.js';
import {
  versionSource,
  type Address,
  type Batch,
  type Change,
  type RawRow,
  type Row,
} from '../../libs/key-value-storage/src/provider.js';
import { FeedLog } from './feed-log.js';
import { exported, History } from './history.js';
import type { Machine, RunningProcess } from './machine.js';
import { seededRandom, type Random } from './seeded-random.js';

export const databases = ['shared', 'tenant:a'] as const;
type Database = (typeof databases)[number];
const namespace = { container: 'state:fault', entity: 'rows' };

/** The codes that a fault may cause; never a conflict. */
const failures = [
  'STORAGE_OUTCOME_UNKNOWN',
  'STORAGE_UNAVAILABLE',
  'STORAGE_LOCKED',
  'STORAGE_NOT_OPEN',
] as const;

export class Scenario {
  readonly histories: Map<Database, History>;
  readonly feedLog: FeedLog;
  /** The number of failures. */
  failed = 0;
  readonly #random: Random;
  readonly #nextVersion: () => string;
  readonly machine: Machine;
  /** The clock of the process, if it is not the clock of the machine. */
  #clock: Clock | undefined;
  #process: RunningProcess | undefined;
  #batches = 0;
  #needsRestart = false;

  constructor(
    machine: Machine,
    seed: number,
    histories = new Map<Database, History>(databases.map((name) => [name, new History()])),
    feedLog = new FeedLog(),
  ) {
    this.machine = machine;
    this.#random = seededRandom(seed);
    this.#nextVersion = versionSource(() => 10n ** 12n + BigInt(this.#random.below(1_000_000)) * 10n ** 10n);
    this.histories = histories;
    this.feedLog = feedLog;
  }

  /** A scenario with the same histories on another machine, for example after a power cut. */
  on(machine: Machine, seed: number): Scenario {
    return new Scenario(
      machine,
      seed,
      new Map([...this.histories].map(([name, history]) => [name, history.clone()])),
      this.feedLog.clone(),
    );
  }

  get process(): RunningProcess {
    if (this.#process === undefined) throw new Error('No process runs.');
    return this.#process;
  }

  /** Runs the whole workload. Ends early if the power is cut. */
  async play(): Promise<void> {
    const steps: readonly (() => Promise<unknown>)[] = [
      () => this.open(),
      () => this.commit('shared'),
      () => this.commit('shared'),
      () => this.group(['shared', 'tenant:a']),
      () => this.advance(1_100),
      () => this.grow('shared'),
      () => this.verify(),
      () => this.close(),
      () => this.open(),
      () => this.verify(),
      () => this.group(['tenant:a', 'shared']),
      () => this.kill(),
      () => this.open(),
      () => this.commit('tenant:a'),
      () => this.drop('tenant:a'),
      () => this.group(['tenant:a']),
      () => this.advance(5_000),
      () => this.machine.until(this.process.provider.sweep(100)),
      () => this.commit('shared'),
      () => this.verify(),
      () => this.close(),
    ];
    for (const step of steps) {
      await this.#perform(step);
      if (!this.machine.disk.powered) return;
      if (this.#needsRestart) await this.#recover();
      if (!this.machine.disk.powered) return;
    }
  }

  /** Runs a step that may fail because of a power cut. */
  async attempt(step: () => Promise<unknown>): Promise<void> {
    await this.#perform(step);
  }

  /** Stops the timers of a process whose machine has no power. */
  async abandon(): Promise<void> {
    if (this.#process === undefined) return;
    this.#process.kill();
    await this.machine.until(this.#process.provider.close()).catch(() => undefined);
  }

  /** Starts a process, opens the directory, and compares the rows with the histories. */
  async open(started = this.machine.start(), clock?: Clock): Promise<void> {
    this.#process = started;
    this.#clock = clock;
    await this.machine.until(this.process.provider.open());
    await this.settle();
  }

  /**
   * Opens a damaged directory, which may have lost the last `count` operations of each database.
   */
  async openDoubting(count: number): Promise<void> {
    for (const history of this.histories.values()) history.doubt(count);
    await this.open();
  }

  /** The number of operations that were missing when it opened. */
  lost = 0;

  async settle(): Promise<void> {
    const stored = new Map<Database, readonly RawRow[]>();
    for (const [database, history] of this.histories) {
      const found = await this.machine.until(exported(this.process.provider, database));
      stored.set(database, found);
      this.lost += history.settle(found, this.machine.clock.now());
    }
    await this.machine.until(this.feedLog.check(this.process.provider, stored));
    await this.#readFeed();
  }

  async close(): Promise<void> {
    await this.machine.until(this.process.provider.close());
    this.process.kill();
  }

  async kill(): Promise<void> {
    this.process.kill();
    // Stops its timers, which belong to the process of the test.
    await this.process.provider.close().catch(() => undefined);
  }

  async commit(database: Database): Promise<void> {
    await this.#commitAll([[this.#batch(database)]]);
  }

  /**
   * Concurrent calls: batches that build on each other, a batch that conflicts with a row in
   * flight, and readers.
   */
  async group(names: readonly Database[]): Promise<void> {
    const calls: Promise<void>[] = [];
    for (let call = 0; call < 6; call += 1) {
      const database = names[call % names.length] as Database;
      const batch = this.#batch(database);
      calls.push(this.#commitAll([[batch]]));
      if (call === 2) calls.push(this.#commitAll([[this.#conflictingBatch(batch)]]));
      calls.push(this.#read(database));
      if (this.#random.chance(0.5)) await new Promise(setImmediate);
    }
    await allOf(calls);
  }

  /** Writes enough for several compactions, without waiting for their end. */
  async grow(database: Database): Promise<void> {
    for (let round = 0; round < 4; round += 1) {
      await allOf([0, 1, 2].map(() => this.#commitAll([[this.#batch(database, { big: true })]])));
    }
  }

  async drop(database: Database): Promise<void> {
    const settle = this.#history(database).issue('drop', this.#now());
    try {
      await this.machine.until(this.process.provider.administration.drop(database));
      settle('acknowledged');
    } catch (error) {
      settle(this.#effectOf(error));
    }
  }

  /** Reads all rows by their addresses and compares them with the histories. */
  async verify(): Promise<void> {
    for (const database of databases) {
      const latest = [...this.#history(database).latest()].map(([name, row]) => ({
        key: name.split('/')[2] as string,
        row,
      }));
      const addresses = latest.map(({ key }) => addressOf(database, key));
      const { rows, time } = await this.machine.until(this.process.provider.read(addresses));
      latest.forEach(({ key, row }, index) => {
        const found = rows[index];
        const expected = row.expiresAt === undefined || row.expiresAt > time ? row.version : undefined;
        if (found?.version !== expected)
          throw new Error(`${database} ${key} is read with version ${found?.version}, expected ${expected}`);
      });
    }
  }

  async advance(ms: number): Promise<void> {
    await this.machine.clock.advance(ms);
    await this.machine.until(new Promise((resolve) => setImmediate(resolve)));
  }

  /** Lets the process send heartbeats and do its background work. */
  async idle(): Promise<void> {
    for (let round = 0; round < 16; round += 1) {
      await this.machine.clock.advance(250);
      for (let turn = 0; turn < 30; turn += 1) await new Promise(setImmediate);
    }
  }

  async #perform(step: () => Promise<unknown>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (
        !this.machine.disk.powered &&
        !(error instanceof Error && error.message.startsWith('What is stored'))
      )
        return;
      this.#effectOf(error);
    }
  }

  /** Ends the process after a failure and starts it again, as an operator would. */
  async #recover(): Promise<void> {
    this.#needsRestart = false;
    for (const database of databases) await this.#read(database);
    await this.machine.until(this.process.provider.close()).catch((error: unknown) => this.#effectOf(error));
    this.process.kill();
    if (!this.machine.disk.powered) return;
    this.machine.disk.fail(undefined);
    this.#needsRestart = false;
    await this.open();
  }

  /** The effect of an expected error. Throws any other error. */
  #effectOf(error: unknown): 'none' | 'unknown' {
    if (!failures.some((code) => isStorageError(error, code))) throw error;
    this.failed += 1;
    this.#needsRestart = true;
    const { effect, done } = error as { effect: 'none' | 'unknown'; done?: number };
    // what stopped in part has the code of its failure
    const isPart = done !== undefined && done > 0;
    if (!isPart && (effect === 'unknown') !== isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN'))
      throw new Error(`Code and effect disagree: effect '${effect}'.`, { cause: error });
    return effect;
  }

  /** One concurrent call of `commit` per list. */
  async #commitAll(calls: readonly (readonly Batch[])[]): Promise<void> {
    await allOf(calls.map((batches) => this.#commit(batches)));
  }

  async #commit(batches: readonly Batch[]): Promise<void> {
    const { provider } = this.process;
    const settlements = batches.map((batch) =>
      this.#history(batch.database as Database).issue(batch, this.#now()),
    );
    let results;
    try {
      results = await this.machine.until(provider.commit(batches));
    } catch (error) {
      const effect = this.#effectOf(error);
      if (effect !== 'none')
        throw new Error('commit rejected with effect unknown; it must reject only with effect none', {
          cause: error,
        });
      settlements.forEach((settle) => settle('none'));
      return;
    }
    results.forEach((result, index) => {
      if (result.outcome === 'failed') settlements[index]?.(this.#effectOf(result.error));
      else settlements[index]?.('acknowledged', result);
    });
  }

  /** Reads the next page of the feed. Every row that is returned must be on disk. */
  async #readFeed(): Promise<void> {
    const entries = await this.machine.until(this.feedLog.read(this.process.provider));
    for (const { address, row } of entries) this.#history(address.database as Database).observe(row);
  }

  /** Reads rows during writes. Every row that is returned must be on disk. */
  async #read(database: Database): Promise<void> {
    const keys = [
      'chain',
      'sum',
      ...Array.from({ length: 8 }, (_, index) => `batch ${Math.max(0, this.#batches - index)}`),
    ];
    try {
      const { rows } = await this.machine.until(
        this.process.provider.read(keys.map((key) => addressOf(database, key))),
      );
      for (const row of rows) if (row !== undefined) this.#history(database).observe(row);
      await this.#readFeed();
    } catch (error) {
      this.#effectOf(error);
    }
  }

  /**
   * A new row, the next link of a chain, an increment of the sum; sometimes a deletion, an expiry,
   * or a large value.
   */
  #batch(database: Database, { big = false } = {}): Batch {
    this.#batches += 1;
    const random = this.#random;
    const latest = this.#history(database).latest();
    const put = (key: string, text: string, ttl: number | 'never' = 'never'): Change => ({
      kind: 'put',
      address: { ...namespace, key },
      value: random.chance(0.1)
        ? { kind: 'bytes', bytes: Buffer.from(text) }
        : { kind: 'json', text: JSON.stringify(text) },
      ttl,
    });
    const chain = latest.get(nameOf('chain'));
    const old = random.pick([...latest.keys()].filter((name) => /\/(batch|event) /.test(name)).concat('/'));
    const changes: Change[] = [
      put(
        `batch ${this.#batches}`,
        big ? filler(random, random.pick([500, 3_000, fillerLengthMax])) : filler(random, random.below(40)),
        random.chance(0.2) ? 3_000 : 'never',
      ),
      { kind: 'sum', address: { ...namespace, key: 'sum' }, operand: 1n },
    ];
    if (random.chance(0.5)) changes.push(feedPut(`event ${this.#batches}`));
    if (random.chance(0.7)) changes.push(put('chain', `link ${this.#batches}`));
    if (random.chance(0.3) && old !== '/')
      changes.push({ kind: 'delete', address: { ...namespace, key: old.split('/')[2] as string } });
    return {
      database,
      version: this.#nextVersion(),
      checks: [{ address: { ...namespace, key: 'chain' }, expected: expectedOf(chain) }],
      changes,
    };
  }

  /** A batch that checks the state before the given batch, so it conflicts. */
  #conflictingBatch({ database }: Batch): Batch {
    const checks = [
      { address: { ...namespace, key: `batch ${this.#batches}` }, expected: 'absent' as const },
    ];
    return {
      database,
      version: this.#nextVersion(),
      checks,
      changes: [{ kind: 'delete', address: { ...namespace, key: 'chain' } }],
    };
  }

  #now(): number {
    return (this.#clock ?? this.machine.clock).now();
  }

  #history(database: Database): History {
    return this.histories.get(database) as History;
  }
}

const feedPut = (key: string): Change => ({
  kind: 'put',
  address: { ...namespace, key },
  value: { kind: 'json', text: '1' },
  ttl: 'never',
  feed: true,
});
const addressOf = (database: string, key: string): Address => ({ database, ...namespace, key });
const nameOf = (key: string): string => `${namespace.container}/${namespace.entity}/${key}`;
const expectedOf = (row: Row | undefined): 'absent' | { version: string } =>
  row === undefined ? 'absent' : { version: row.version };

/** A part of one long text, which is drawn once: drawing each letter was half the cost of a run. */
function filler(random: Random, length: number): string {
  const from = random.below(fillerText.length - length);
  return fillerText.slice(from, from + length);
}

const fillerLengthMax = 9_000;
const letters = seededRandom(1);
const fillerText = Array.from({ length: 3 * fillerLengthMax }, () =>
  letters.pick(['a', 'b', 'ü', '"', '\n', '0', '{', '€']),
).join('');

/** Waits for all promises, then rejects with the first failure. */
async function allOf(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason;
}
