import { afterEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { CoalescingProvider } from './coalescing-provider.js';
import { isStorageError, storageError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type {
  Batch,
  CommitOptions,
  CommitResult,
  ReadResult,
  Address,
  ScanPage,
  ScanRange,
} from '../port/storage-provider.js';

/** A provider that records its calls. Between `hold` and `release` they wait. */
class GatedProvider extends MemoryProvider {
  readonly reads: (readonly Address[])[] = [];
  readonly commits: (readonly Batch[])[] = [];
  #held: (() => void)[] | undefined;
  refuse: ((batches: readonly Batch[]) => boolean) | undefined;
  /** The error of every read. */
  unreadable: Error | undefined;

  hold(): void {
    this.#held = [];
  }
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const resolve of held) resolve();
  }
  override async read(addresses: readonly Address[]): Promise<ReadResult> {
    this.reads.push(addresses);
    await this.#gate();
    if (this.unreadable !== undefined) throw this.unreadable;
    return await super.read(addresses);
  }
  override async commit(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    this.commits.push(batches);
    await this.#gate();
    if (this.refuse?.(batches) === true) throw storageError('STORAGE_UNAVAILABLE', 'refused as a whole', {});
    return await super.commit(batches);
  }
  async #gate(): Promise<void> {
    const held = this.#held;
    if (held !== undefined) await new Promise<void>((resolve) => held.push(resolve));
  }
}

/**
 * A provider where another transaction holds some rows. It reports the results of the other batches
 * first, through `answered`.
 */
class ProviderWithHeldRows extends MemoryProvider {
  readonly commits: (readonly Batch[])[] = [];
  readonly held = new Set<string>();
  readonly #waiting: (() => void)[] = [];

  /** The result of a batch whose row was held; without it, the batch is committed. */
  refusal: CommitResult | undefined;

  override async commit(
    batches: readonly Batch[],
    { answered, waiting }: CommitOptions = {},
  ): Promise<readonly CommitResult[]> {
    this.commits.push(batches);
    const waits = keysOf(batches).some((key) => this.held.has(key));
    return await Promise.all(
      batches.map(async (batch, index) => {
        const held = keysOf([batch]).find((key) => this.held.has(key));
        if (held !== undefined) {
          waiting?.(index, address(held));
          await new Promise<void>((resolve) => this.#waiting.push(resolve));
        }
        const [result] =
          held !== undefined && this.refusal !== undefined ? [this.refusal] : await super.commit([batch]);
        if (waits) answered?.(index, result as CommitResult);
        return result as CommitResult;
      }),
    );
  }
  releaseRows(): void {
    this.held.clear();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

const address = (key: string) => ({ database: 'shared', container: 'state:state', entity: 'thing', key });
let version = 100;
/** A batch that puts a row, and checks that the `checked` rows are absent. */
const put = (key: string, ...checked: string[]): Batch => ({
  database: 'shared',
  version: String((version += 1)),
  checks: checked.map((name) => ({ address: address(name), expected: 'absent' })),
  changes: [{ kind: 'put', address: address(key), value: { kind: 'json', text: '1' }, ttl: 'never' }],
});
/** One batch that puts several rows. */
const putAll = (...keys: readonly string[]): Batch => ({
  ...put(''),
  changes: keys.flatMap((key) => put(key).changes),
});
const keysOf = (batches: readonly Batch[]) =>
  batches.flatMap(({ changes }) => changes.map((change) => change.address.key));
/** Lets all pending microtasks and I/O run. */
const settle = async () => await new Promise((resolve) => setImmediate(resolve));

const opened: CoalescingProvider[] = [];
async function subject() {
  return await subjectOver(new GatedProvider());
}
async function subjectOver<P extends MemoryProvider>(gate: P) {
  const provider = new CoalescingProvider(gate);
  await provider.open();
  opened.push(provider);
  return { gate, provider };
}
afterEach(async () => {
  for (const provider of opened.splice(0)) await provider.close();
});

describe('the coalescing provider', () => {
  it('makes one call of the calls of sixty concurrent callers', async () => {
    const { gate, provider } = await subject();
    await Promise.all(
      Array.from({ length: 60 }, async (_, index) => await provider.commit([put(`k${index}`)])),
    );
    expect(gate.commits.map((batches) => batches.length)).toEqual([60]);
    const rows = await Promise.all(
      Array.from({ length: 60 }, async (_, index) => await provider.read([address(`k${index}`)])),
    );
    expect(gate.reads).toHaveLength(1);
    expect(rows.every(({ rows: [row] }) => row !== undefined)).toBe(true);
  });

  it('sends many batches in two halves, so that the engine works on one while callers continue with the other', async () => {
    const { gate, provider } = await subject();
    gate.hold();
    const calls = Array.from({ length: 101 }, async (_, index) => await provider.commit([put(`k${index}`)]));
    await settle();
    expect(gate.commits.map((batches) => batches.length)).toEqual([51, 50]);
    gate.release();
    await Promise.all(calls);
  });

  it('sends the changes of one number together, up to a batch that does something else with its row', async () => {
    const { gate, provider } = await subject();
    const add = (): Batch => ({
      ...put(''),
      changes: [{ kind: 'sum', address: address('hot'), operand: 1n }],
    });
    const batches = [...Array.from({ length: 30 }, add), { ...add(), changes: [] }, add()];
    batches.splice(20, 0, {
      ...put(''),
      changes: [
        { kind: 'put', address: address('hot'), value: { kind: 'number', number: 100n }, ttl: 'never' },
      ],
    });
    const results = await Promise.all(batches.map(async (batch) => (await provider.commit([batch]))[0]));
    expect(gate.commits.map((sent) => sent.length)).toEqual([21, 1, 11]);
    const numbers = results.map((result) =>
      result?.outcome === 'committed' ? result.rows[0]?.number : undefined,
    );
    const upTo = (from: bigint, count: number): readonly bigint[] =>
      Array.from({ length: count }, (_, index) => from + BigInt(index));
    expect(numbers).toEqual([...upTo(1n, 20), 100n, ...upTo(101n, 10), undefined, 111n]);
  });

  it('gives a waiting batch its conflict without a call, when the batch before it decides its first check', async () => {
    const { gate, provider } = await subject();
    const writes = Array.from({ length: 50 }, async () => await provider.commit([put('hot', 'hot')]));
    const unchecked = provider.commit([put('hot')]);
    const otherFirst = provider.commit([put('hot', 'other', 'hot')]);
    const [first, ...others] = (await Promise.all(writes)).flat();
    expect(first?.outcome).toBe('committed');
    const [committed] = gate.commits[0] ?? [];
    for (const result of others)
      expect(result).toMatchObject({ outcome: 'conflict', actual: committed?.version });
    expect((await unchecked)[0]?.outcome).toBe('committed');
    expect((await otherFirst)[0]).toMatchObject({ outcome: 'conflict', address: { key: 'hot' } });
    // the committed batch, the one without a check, and the one that checks another row first
    expect(gate.commits.map((batches) => batches.length)).toEqual([1, 1, 1]);
  });

  it('sends a batch that came after the one before was sent: another process may have changed the row in between', async () => {
    const { gate, provider } = await subject();
    gate.hold();
    const first = provider.commit([put('hot', 'hot')]);
    await settle();
    const later = provider.commit([put('hot', 'hot')]);
    gate.release();
    expect((await first)[0]?.outcome).toBe('committed');
    expect((await later)[0]?.outcome).toBe('conflict');
    expect(gate.commits).toHaveLength(2);
  });

  it('sends a lone call at the end of the microtask, also while others are in flight', async () => {
    const { gate, provider } = await subject();
    gate.hold();
    const calls = [1, 2, 3, 4].map(async (group) => {
      const call = provider.commit([put(`g${group}`)]);
      await settle();
      return await call;
    });
    for (let round = 0; round < 5; round += 1) await settle();
    expect(gate.commits.length).toBeGreaterThanOrEqual(1);
    gate.release();
    await Promise.all(calls);
    gate.hold();
    const first = provider.commit([put('one')]);
    await settle();
    const second = provider.commit([put('two')]);
    await settle();
    expect(gate.commits.slice(-2).map(keysOf)).toEqual([['one'], ['two']]);
    gate.release();
    await Promise.all([first, second]);
  });

  it('has at most four groups in flight, and groups the waiting calls for the next one', async () => {
    const { gate, provider } = await subject();
    gate.hold();
    const calls: Promise<unknown>[] = [];
    for (let index = 0; index < 10; index += 1) {
      calls.push(provider.commit([put(`k${index}`)]));
      await settle();
    }
    expect(gate.commits.map((batches) => batches.length)).toEqual([1, 1, 1, 1]);
    gate.release();
    await Promise.all(calls);
    expect(gate.commits.map((batches) => batches.length)).toEqual([1, 1, 1, 1, 6]);
  });

  it('never has two batches of one row in flight, and keeps their order', async () => {
    const { gate, provider } = await subject();
    gate.hold();
    const first = provider.commit([put('a')]);
    await settle();
    const second = provider.commit([put('b', 'a')]); // checks what the first writes
    const third = provider.commit([put('b')]); // writes a row of the second: waits for it
    const free = provider.commit([put('c')]);
    await settle();
    expect(gate.commits.map(keysOf)).toEqual([['a'], ['c']]);
    gate.release();
    const results = (await Promise.all([first, second, third, free])).map(([result]) => result?.outcome);
    expect(results).toEqual(['committed', 'conflict', 'committed', 'committed']);
  });

  it('reports the conflict of one caller to that caller only', async () => {
    const { provider } = await subject();
    await provider.commit([put('a')]);
    const results = await Promise.all([
      provider.commit([put('x')]),
      provider.commit([put('a', 'a')]),
      provider.commit([put('y')]),
    ]);
    expect(results.map(([result]) => result?.outcome)).toEqual(['committed', 'conflict', 'committed']);
  });

  it('repeats no call of a group of reads where the engine cannot be reached', async () => {
    const { gate, provider } = await subject();
    const failureOf = async (key: string): Promise<unknown> =>
      await provider.read([address(key)]).catch((error: unknown) => error);
    gate.unreadable = storageError('STORAGE_UNAVAILABLE', 'no response', { unreachable: true });
    const refused = await Promise.all(Array.from({ length: 200 }, (_, index) => failureOf(`k${index}`)));
    expect(refused.every((error) => error === gate.unreadable)).toBe(true);
    const sent = gate.reads.length;
    expect(gate.reads.flat()).toHaveLength(200);
    // any other error may be of one of the calls
    gate.unreadable = storageError('STORAGE_UNAVAILABLE', 'refused', {});
    await Promise.all(Array.from({ length: 20 }, (_, index) => failureOf(`k${index}`)));
    expect(gate.reads.slice(sent).map(({ length }) => length)).toEqual([20, ...Array<number>(20).fill(1)]);
  });

  it('repeats a group that is refused as a whole batch by batch', async () => {
    const { gate, provider } = await subject();
    gate.refuse = (batches) => keysOf(batches).includes('bad');
    const results = await Promise.allSettled([
      provider.commit([put('x')]),
      provider.commit([put('bad')]),
      provider.commit([put('y')]),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      effect: 'none',
    });
  });

  it('removes an aborted call from the queue, and keeps the other calls', async () => {
    const { gate, provider } = await subject();
    gate.hold();
    const blocking = provider.commit([put('a')]);
    await settle();
    const controller = new AbortController();
    const queued = provider
      .commit([put('a')], { signal: controller.signal })
      .catch((error: unknown) => error);
    const behind = provider.commit([put('a')]);
    controller.abort();
    const error = await queued;
    expect(isStorageError(error, 'ABORTED') && error.effect).toBe('none');
    gate.release();
    await Promise.all([blocking, behind]);
    expect(gate.commits).toHaveLength(2);
  });

  it('ends an aborted call in flight at once with an unknown effect; the other calls of its group continue', async () => {
    const { gate, provider } = await subject();
    gate.hold();
    const controller = new AbortController();
    const sent = provider.commit([put('a')], { signal: controller.signal }).catch((error: unknown) => error);
    const other = provider.commit([put('b')]);
    await settle();
    controller.abort();
    const error = await sent;
    expect(isStorageError(error, 'ABORTED') && error.effect).toBe('unknown');
    gate.release();
    expect((await other)[0]?.outcome).toBe('committed');
  });

  it('waits for calls in flight before it closes', async () => {
    const { gate, provider } = await subject();
    gate.hold();
    const call = provider.commit([put('a')]);
    await settle();
    const closing = provider.close();
    gate.release();
    await closing;
    expect((await call)[0]?.outcome).toBe('committed');
    await expect(provider.read([address('a')])).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
  });

  it('returns empty results for empty calls, without a call of the provider', async () => {
    const { gate, provider } = await subject();
    expect([await provider.commit([]), await provider.scan([]), (await provider.read([])).rows]).toEqual([
      [],
      [],
      [],
    ]);
    expect(gate.commits).toEqual([]);
  });

  it('closes a group at 8 MB', async () => {
    const { gate, provider } = await subject();
    const large = 'x'.repeat(3 * 1_024 * 1_024);
    const batches = Array.from({ length: 5 }, (_, index) => {
      const batch = put(`k${index}`);
      return {
        ...batch,
        changes: batch.changes.map(
          (change) =>
            ({ ...change, value: { kind: 'json', text: `"${large}"` } }) as (typeof batch.changes)[number],
        ),
      };
    });
    await Promise.all(batches.map(async (batch) => await provider.commit([batch])));
    expect(gate.commits.map((group) => group.length)).toEqual([2, 2, 1]);
  });
});

describe('a group with rows that another transaction holds', () => {
  const outcomeOf = async (commit: Promise<readonly CommitResult[]>) => (await commit)[0]?.outcome;

  it('ends each batch as soon as its result is known: only a batch of a held row waits', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    gate.held.add('held');
    let waits = true;
    const waiting = provider.commit([put('held')]).finally(() => (waits = false));
    const others = ['a', 'b', 'c'].map((key) => provider.commit([put(key)]));
    expect(await Promise.all(others.map(outcomeOf))).toEqual(['committed', 'committed', 'committed']);
    expect([waits, gate.commits.map(keysOf)]).toEqual([true, [['held', 'a', 'b', 'c']]]);
    gate.releaseRows();
    expect(await outcomeOf(waiting)).toBe('committed');
  });

  it('releases the rows of an ended batch, and keeps the held row', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    gate.held.add('held');
    const waiting = [provider.commit([put('held')]), provider.commit([put('a')])];
    expect(await outcomeOf(waiting[1] as Promise<readonly CommitResult[]>)).toBe('committed');
    const behind = provider.commit([put('held')]);
    expect(await outcomeOf(provider.commit([put('a', 'a')]))).toBe('conflict');
    expect(gate.commits.map(keysOf)).toEqual([['held', 'a'], ['a']]);
    gate.releaseRows();
    await Promise.all([...waiting, behind]);
    expect(gate.commits.map(keysOf)).toEqual([['held', 'a'], ['a'], ['held']]);
  });

  it('does not count as one of the four in flight, so any number of held rows delays no other call', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    const waiting: Promise<unknown>[] = [];
    for (let index = 0; index < 10; index += 1) {
      gate.held.add(`held-${index}`);
      waiting.push(provider.commit([put(`held-${index}`)]));
      expect(await outcomeOf(provider.commit([put(`free-${index}`)]))).toBe('committed');
    }
    gate.releaseRows();
    await Promise.all(waiting);
  });

  it('does not count as one of the four in flight when it has a single batch either', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    const waiting: Promise<unknown>[] = [];
    for (let index = 0; index < 10; index += 1) {
      gate.held.add(`held-${index}`);
      waiting.push(provider.commit([put(`held-${index}`)]));
      await settle();
    }
    expect(gate.commits.length).toBe(10);
    expect(await outcomeOf(provider.commit([put('free')]))).toBe('committed');
    gate.releaseRows();
    await Promise.all(waiting);
  });

  it('blocks the held row only: the other rows of a batch that waits for it are free', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    gate.held.add('held');
    const held = provider.commit([put('held')]);
    await settle();
    const both = provider.commit([putAll('held', 'free')]);
    await settle();
    expect(await outcomeOf(provider.commit([put('free')]))).toBe('committed');
    gate.releaseRows();
    expect(await Promise.all([held, both].map(outcomeOf))).toEqual(['committed', 'committed']);
    expect(gate.commits.map(keysOf)).toEqual([['held'], ['free'], ['held', 'free']]);
  });

  it('refuses the batches that wait for the held row, and no batch of other rows', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    gate.held.add('held');
    gate.refusal = { outcome: 'failed', error: storageError('STORAGE_UNAVAILABLE', 'a row is held', {}) };
    const both = outcomeOf(provider.commit([putAll('held', 'free')]));
    const behind = outcomeOf(provider.commit([put('held')]));
    const other = outcomeOf(provider.commit([put('free')]));
    expect(await other).toBe('committed');
    gate.releaseRows();
    expect(await Promise.all([both, behind])).toEqual(['failed', 'failed']);
    expect(gate.commits.map(keysOf)).toEqual([['held', 'free'], ['free']]);
  });

  it('refuses a batch with noWait at once, when a batch in flight has its row', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    gate.held.add('held');
    const held = provider.commit([put('held')]);
    expect(await outcomeOf(provider.commit([{ ...put('held'), noWait: true }]))).toBe('failed');
    expect(await outcomeOf(provider.commit([{ ...put('free'), noWait: true }]))).toBe('committed');
    gate.releaseRows();
    expect(await outcomeOf(held)).toBe('committed');
    expect(gate.commits.map(keysOf)).toEqual([['held'], ['free']]);
  });

  it('ends before the provider closes, and each call ends once', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    gate.held.add('held');
    const waiting = provider.commit([put('held')]);
    await provider.commit([put('a')]);
    let closed = false;
    const closing = provider.close().then(() => (closed = true));
    await settle();
    expect(closed).toBe(false);
    gate.releaseRows();
    expect(await outcomeOf(waiting)).toBe('committed');
    await closing;
    expect(gate.commits.map(keysOf)).toEqual([['held', 'a']]);
  });

  it('ends an aborted call with an unknown effect, and frees its row when the engine has ended', async () => {
    const { gate, provider } = await subjectOver(new ProviderWithHeldRows());
    gate.held.add('held');
    const controller = new AbortController();
    const waiting = provider
      .commit([put('held')], { signal: controller.signal })
      .catch((error: unknown) => error);
    await provider.commit([put('a')]);
    controller.abort();
    expect(await waiting).toMatchObject({ code: 'ABORTED', effect: 'unknown' });
    const next = provider.commit([put('held', 'held')]);
    await settle();
    expect(gate.commits.map(keysOf)).toEqual([['held', 'a']]);
    gate.releaseRows();
    expect(await outcomeOf(next)).toBe('conflict');
  });
});

/** A provider whose calls wait until the test releases them one by one. */
class SteppedProvider extends MemoryProvider {
  readonly sent: (readonly string[])[] = [];
  readonly #held: (() => void)[] = [];

  async #step(databases: readonly string[]): Promise<void> {
    this.sent.push(databases);
    await new Promise<void>((resolve) => this.#held.push(resolve));
  }
  async releaseOne(): Promise<void> {
    this.#held.shift()?.();
    await settle();
  }
  async releaseAll(): Promise<void> {
    while (this.#held.length > 0) await this.releaseOne();
  }
  override async read(addresses: readonly Address[]): Promise<ReadResult> {
    await this.#step(addresses.map(({ database }) => database));
    return await super.read(addresses);
  }
  override async scan(ranges: readonly ScanRange[]): Promise<readonly ScanPage[]> {
    await this.#step(ranges.map(({ database }) => database));
    return await super.scan(ranges);
  }
  override async commit(batches: readonly Batch[]): Promise<readonly CommitResult[]> {
    await this.#step(batches.map(({ database }) => database));
    return await super.commit(batches);
  }
}

describe('many calls of one tenant', () => {
  const at = (database: string, key: string) => ({ ...address(key), database });
  const kinds: readonly (readonly [
    string,
    number,
    (provider: CoalescingProvider, database: string, index: number) => Promise<unknown>,
  ])[] = [
    [
      'commits',
      1_000,
      async (provider, database, index) => await provider.commit([{ ...put(`key-${index}`), database }]),
    ],
    ['scans', 1_000, async (provider, database) => await provider.scan([{ ...at(database, ''), limit: 1 }])],
    [
      'reads',
      20,
      async (provider, database, index) =>
        await provider.read(
          Array.from({ length: database === 'tenant:acme' ? 900 : 1 }, (_, key) =>
            at(database, `${index}-${key}`),
          ),
        ),
    ],
  ];

  it.each(kinds)(
    'do not delay the %s of another: its call is in the next group',
    async (kind, count, call) => {
      const inner = new SteppedProvider();
      const provider = new CoalescingProvider(inner);
      await provider.open();
      opened.push(provider);
      const calls = Array.from(
        { length: count },
        async (__, index) => await call(provider, 'tenant:acme', index),
      );
      await settle();
      const inFlight = inner.sent.length;
      const acme = inner.sent.flat().length;
      const other = [call(provider, 'tenant:globex', 0), call(provider, 'tenant:globex', 1)];
      await settle();
      expect(inner.sent.length).toBe(inFlight);
      await inner.releaseOne();
      // of scans, each is sent alone: the next two
      if (kind === 'scans') await inner.releaseOne();
      const next = inner.sent.slice(inFlight).flat();
      // after all calls of acme that were in flight, and at most one more
      expect(inner.sent.flat().indexOf('tenant:globex') - acme).toBeLessThanOrEqual(count === 20 ? 900 : 1);
      expect(next).toContain('tenant:globex');
      await inner.releaseAll();
      await Promise.all([...calls, ...other]);
    },
  );

  it('are sent in turn with those of several others, where one scan ends at a time', async () => {
    const inner = new SteppedProvider();
    const provider = new CoalescingProvider(inner);
    await provider.open();
    opened.push(provider);
    const scan = (database: string) => provider.scan([{ ...at(database, ''), limit: 1 }]);
    const calls = Array.from({ length: 60 }, async () => await scan('tenant:acme'));
    await settle();
    const inFlight = inner.sent.length;
    calls.push(...Array.from({ length: 9 }, async (_, index) => await scan(`tenant:other ${index % 3}`)));
    await settle();
    for (let step = 0; step < 8; step += 1) await inner.releaseOne();
    const turns = inner.sent.slice(inFlight).flat();
    await inner.releaseAll();
    await Promise.all(calls);
    expect(turns.slice(0, 4).toSorted()).toEqual(turns.slice(4, 8).toSorted());
    expect(new Set(turns).size).toBe(4);
  });

  it('keep the order of each tenant', async () => {
    const inner = new SteppedProvider();
    const provider = new CoalescingProvider(inner);
    await provider.open();
    opened.push(provider);
    const done: string[] = [];
    const all = Array.from({ length: 30 }, async (_, index) => {
      const database = index % 3 === 0 ? 'tenant:globex' : 'tenant:acme';
      await provider.commit([{ ...put('one'), database }]);
      done.push(`${database} ${index}`);
    });
    await settle();
    for (let round = 0; round < 40; round += 1) await inner.releaseOne();
    await Promise.all(all);
    for (const tenant of ['acme', 'globex']) {
      const numbers = done
        .filter((each) => each.startsWith(`tenant:${tenant} `))
        .map((each) => Number(each.split(' ')[1]));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
  });
});

describe('reads of large values', () => {
  it('are grouped in smaller groups after a group was refused, and each caller gets its result', async () => {
    const inner = new MemoryProvider();
    const sizes: number[] = [];
    const { read } = inner;
    inner.read = async (addresses, options) => {
      sizes.push(addresses.length);
      return await read.call(inner, addresses, options);
    };
    const provider = new CoalescingProvider(inner);
    await provider.open();
    opened.push(provider);
    const text = JSON.stringify('x'.repeat(limits.valueBytesMax - 2));
    for (let index = 0; index < 12; index += 1) {
      const batch = put(`key-${index}`);
      await provider.commit([
        {
          ...batch,
          changes: [
            { kind: 'put', address: address(`key-${index}`), value: { kind: 'json', text }, ttl: 'never' },
          ],
        },
      ]);
    }
    for (let round = 0; round < 2; round += 1) {
      sizes.length = 0;
      const found = await Promise.all(
        Array.from({ length: 12 }, async (_, index) => await provider.read([address(`key-${index}`)])),
      );
      expect(found.every(({ rows }) => rows[0] !== undefined)).toBe(true);
      // first all together, which is refused, then one by one; in the next round in smaller groups
      expect(Math.max(...sizes)).toBe(round === 0 ? 12 : 6);
    }
  });
});
