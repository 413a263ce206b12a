/**
 * A life of the JSON file, played on a simulated machine, and its histories: single commits, groups
 * with rivals and readers among them, compaction, beats, a clean close, a kill, a dropped database,
 * expiry. Whatever goes wrong on the way, it ends its process, opens a new one as an operator
 * would, holds what is there against the histories, and goes on.
 */
import { isStorageError, type Clock } from '../../libs/key-value-storage/src/core.js';
import {
  versionSource,
  type Address,
  type Batch,
  type Change,
  type Row,
} from '../../libs/key-value-storage/src/provider.js';
import { exported, History } from './history.js';
import type { Machine, RunningProcess } from './machine.js';
import { seededRandom, type Random } from './seeded-random.js';

export const databases = ['shared', 'tenant:a'] as const;
type Database = (typeof databases)[number];
const space = { container: 'state:fault', entity: 'rows' };

/** What a failure may be reported as; a conflict never. */
const failures = [
  'STORAGE_OUTCOME_UNKNOWN',
  'STORAGE_UNAVAILABLE',
  'STORAGE_LOCKED',
  'STORAGE_NOT_OPEN',
] as const;

export class Scenario {
  readonly histories: Map<Database, History>;
  /** How often something failed. */
  failed = 0;
  readonly #random: Random;
  readonly #nextVersion: () => string;
  readonly machine: Machine;
  /** The clock of its process, where that is not the machine's. */
  #clock: Clock | undefined;
  #process: RunningProcess | undefined;
  #batches = 0;
  #stumbled = false;

  constructor(
    machine: Machine,
    seed: number,
    histories = new Map<Database, History>(databases.map((name) => [name, new History()])),
  ) {
    this.machine = machine;
    this.#random = seededRandom(seed);
    this.#nextVersion = versionSource(() => 10n ** 12n + BigInt(this.#random.below(1_000_000)) * 10n ** 10n);
    this.histories = histories;
  }

  /** The same past on another machine: the one whose disk forgot something. */
  on(machine: Machine, seed: number): Scenario {
    return new Scenario(
      machine,
      seed,
      new Map([...this.histories].map(([name, history]) => [name, history.clone()])),
    );
  }

  get process(): RunningProcess {
    if (this.#process === undefined) throw new Error('No process runs.');
    return this.#process;
  }

  /** The whole life. Ends early when the power goes. */
  async play(): Promise<void> {
    const life: readonly (() => Promise<unknown>)[] = [
      () => this.open(),
      () => this.commit('shared'),
      () => this.commit('shared'),
      () => this.group(['shared', 'tenant:a']),
      () => this.pass(1_100),
      () => this.grow('shared'),
      () => this.look(),
      () => this.close(),
      () => this.open(),
      () => this.look(),
      () => this.group(['tenant:a', 'shared']),
      () => this.kill(),
      () => this.open(),
      () => this.commit('tenant:a'),
      () => this.drop('tenant:a'),
      () => this.group(['tenant:a']),
      () => this.pass(5_000),
      () => this.machine.until(this.process.provider.sweep(100)),
      () => this.commit('shared'),
      () => this.look(),
      () => this.close(),
    ];
    for (const act of life) {
      await this.#carryOut(act);
      if (!this.machine.disk.powered) return;
      if (this.#stumbled) await this.#recover();
      if (!this.machine.disk.powered) return;
    }
  }

  /** Does something that may fail because the power goes. */
  async attempt(act: () => Promise<unknown>): Promise<void> {
    await this.#carryOut(act);
  }

  /** The power is off: ends what is left of the last process in this one. */
  async abandon(): Promise<void> {
    if (this.#process === undefined) return;
    this.#process.kill();
    await this.machine.until(this.#process.provider.close()).catch(() => undefined);
  }

  /**
   * Starts a process that opens the directory, and holds what it finds against what may be there.
   */
  async open(started = this.machine.start(), clock?: Clock): Promise<void> {
    this.#process = started;
    this.#clock = clock;
    await this.machine.until(this.process.provider.open());
    await this.settle();
  }

  /**
   * Opens a directory whose last `count` acknowledgements of each database cannot be proven any
   * more: damage may have taken them.
   */
  async openDoubting(count: number): Promise<void> {
    for (const history of this.histories.values()) history.doubt(count);
    await this.open();
  }

  /** How many operations of its past were not there when it opened. */
  lost = 0;

  async settle(): Promise<void> {
    for (const [database, history] of this.histories) {
      const found = await this.machine.until(exported(this.process.provider, database));
      this.lost += history.settle(found, this.machine.clock.now());
    }
  }

  async close(): Promise<void> {
    await this.machine.until(this.process.provider.close());
    this.process.kill();
  }

  async kill(): Promise<void> {
    this.process.kill();
    // its timers are of this process, which lives on
    await this.process.provider.close().catch(() => undefined);
  }

  async commit(database: Database): Promise<void> {
    await this.#commitAll([[this.#batch(database)]]);
  }

  /**
   * Concurrent calls: batches that build on each other, a rival whose conflict rests on a row still
   * on its way, and readers.
   */
  async group(names: readonly Database[]): Promise<void> {
    const calls: Promise<void>[] = [];
    for (let call = 0; call < 6; call += 1) {
      const database = names[call % names.length] as Database;
      const batch = this.#batch(database);
      calls.push(this.#commitAll([[batch]]));
      if (call === 2) calls.push(this.#commitAll([[this.#rival(batch)]]));
      calls.push(this.#read(database));
      if (this.#random.chance(0.5)) await new Promise(setImmediate);
    }
    await allOf(calls);
  }

  /**
   * Writes until the snapshot is out of date several times over, without waiting for a compaction
   * to end.
   */
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

  /** Everything is there: all rows by their addresses, as one view. */
  async look(): Promise<void> {
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
          throw new Error(`${database} ${key} is answered as ${found?.version}, expected ${expected}`);
      });
    }
  }

  async pass(ms: number): Promise<void> {
    await this.machine.clock.advance(ms);
    await this.machine.until(new Promise((resolve) => setImmediate(resolve)));
  }

  /** Lets the process beat for a while, and do what it does when nobody asks it anything. */
  async idle(): Promise<void> {
    for (let beat = 0; beat < 16; beat += 1) {
      await this.machine.clock.advance(250);
      for (let turn = 0; turn < 30; turn += 1) await new Promise(setImmediate);
    }
  }

  async #carryOut(act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (
        !this.machine.disk.powered &&
        !(error instanceof Error && error.message.startsWith('What is stored'))
      )
        return;
      this.#effectOf(error);
    }
  }

  /** As an operator would: sees that it fails, ends the process, starts it again. */
  async #recover(): Promise<void> {
    this.#stumbled = false;
    for (const database of databases) await this.#read(database);
    await this.machine.until(this.process.provider.close()).catch((error: unknown) => this.#effectOf(error));
    this.process.kill();
    if (!this.machine.disk.powered) return;
    this.machine.disk.fail(undefined);
    this.#stumbled = false;
    await this.open();
  }

  /** What an error says of the effect; it must say so in the words of Kvent. */
  #effectOf(error: unknown): 'none' | 'unknown' {
    if (!failures.some((code) => isStorageError(error, code))) throw error;
    this.failed += 1;
    this.#stumbled = true;
    const { effect } = error as { effect: 'none' | 'unknown' };
    if ((effect === 'unknown') !== isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN'))
      throw new Error(`Code and effect disagree: effect '${effect}'.`, { cause: error });
    return effect;
  }

  /** One call of `commit` for each list, at once. */
  async #commitAll(calls: readonly (readonly Batch[])[]): Promise<void> {
    await allOf(calls.map((batches) => this.#commit(batches)));
  }

  async #commit(batches: readonly Batch[]): Promise<void> {
    const { provider } = this.process;
    const answers = batches.map((batch) =>
      this.#history(batch.database as Database).issue(batch, this.#now()),
    );
    let results;
    try {
      results = await this.machine.until(provider.commit(batches));
    } catch (error) {
      const effect = this.#effectOf(error);
      if (effect !== 'none')
        throw new Error(
          'commit rejected with unknown effect: it rejects only when nothing can have taken effect',
          { cause: error },
        );
      answers.forEach((answer) => answer('none'));
      return;
    }
    results.forEach((result, index) => {
      if (result.outcome === 'failed') answers[index]?.(this.#effectOf(result.error));
      else answers[index]?.('acknowledged', result);
    });
  }

  /** Reads rows while others write them: whatever is answered is on disk. */
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
      for (const row of rows) if (row !== undefined) this.#history(database).saw(row);
    } catch (error) {
      this.#effectOf(error);
    }
  }

  /**
   * A row of its own, the next link of a chain, one more for the sum; sometimes a deletion, a row
   * that expires, something big.
   */
  #batch(database: Database, { big = false } = {}): Batch {
    this.#batches += 1;
    const random = this.#random;
    const latest = this.#history(database).latest();
    const put = (key: string, text: string, ttl: number | 'never' = 'never'): Change => ({
      kind: 'put',
      address: { ...space, key },
      value: random.chance(0.1)
        ? { kind: 'bytes', bytes: Buffer.from(text) }
        : { kind: 'json', text: JSON.stringify(text) },
      ttl,
    });
    const chain = latest.get(nameOf('chain'));
    const old = random.pick([...latest.keys()].filter((name) => name.includes('/batch ')).concat('/'));
    const changes: Change[] = [
      put(
        `batch ${this.#batches}`,
        big ? filler(random, random.pick([500, 3_000, fillerLengthMax])) : filler(random, random.below(40)),
        random.chance(0.2) ? 3_000 : 'never',
      ),
      { kind: 'sum', address: { ...space, key: 'sum' }, operand: 1n },
    ];
    if (random.chance(0.7)) changes.push(put('chain', `link ${this.#batches}`));
    if (random.chance(0.3) && old !== '/')
      changes.push({ kind: 'delete', address: { ...space, key: old.split('/')[2] as string } });
    return {
      database,
      version: this.#nextVersion(),
      checks: [{ address: { ...space, key: 'chain' }, expected: expectedOf(chain) }],
      changes,
    };
  }

  /** Wants what the batch has just changed to be as it was. */
  #rival({ database }: Batch): Batch {
    const checks = [{ address: { ...space, key: `batch ${this.#batches}` }, expected: 'absent' as const }];
    return {
      database,
      version: this.#nextVersion(),
      checks,
      changes: [{ kind: 'delete', address: { ...space, key: 'chain' } }],
    };
  }

  #now(): number {
    return (this.#clock ?? this.machine.clock).now();
  }

  #history(database: Database): History {
    return this.histories.get(database) as History;
  }
}

const addressOf = (database: string, key: string): Address => ({ database, ...space, key });
const nameOf = (key: string): string => `${space.container}/${space.entity}/${key}`;
const expectedOf = (row: Row | undefined): 'absent' | { version: string } =>
  row === undefined ? 'absent' : { version: row.version };

/**
 * A part of one long text, which is drawn once: drawing each letter anew was half the cost of a
 * life.
 */
function filler(random: Random, length: number): string {
  const from = random.below(fillerText.length - length);
  return fillerText.slice(from, from + length);
}

const fillerLengthMax = 9_000;
const letters = seededRandom(1);
const fillerText = Array.from({ length: 3 * fillerLengthMax }, () =>
  letters.pick(['a', 'b', 'ü', '"', '\n', '0', '{', '€']),
).join('');

/** Waits for all of them, then fails with the first failure. */
async function allOf(work: readonly Promise<void>[]): Promise<void> {
  for (const end of await Promise.allSettled(work)) if (end.status === 'rejected') throw end.reason;
}
