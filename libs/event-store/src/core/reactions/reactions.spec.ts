/** Each event is handled at least once, in the order of its stream, whatever fails between. */
import { describe, expect, it } from '@jest/globals';
import { defineState, type StorageProvider } from '@kvent/key-value-storage';
import { defineStream, event } from '../definition/stream-definition.js';
import { EventStore } from '../event-store.js';
import { faulty, Orders, placed, type Fault } from '../projections/spec-support.js';
import { defineReaction } from './reaction-definition.js';
import { ReactionRunner } from './reaction-runner.js';
import {
  Handlers,
  nameOf,
  openReactionShop,
  reactionTo,
  type Placed,
  type ReactionShop,
} from './spec-support.js';

const refusal = async (work: Promise<unknown>) =>
  await work.then(
    () => 'nothing',
    (error: Error & { code: string }) => `${error.code}: ${error.message}`,
  );

describe('a reaction', () => {
  it('handles what is appended after its first start, and goes on there after a restart', async () => {
    await using shop = await openReactionShop();
    const handled: string[] = [];
    const reaction = reactionTo((given) => handled.push(nameOf(given)), { from: 'now', partitions: 2 });
    await shop.sell('acme', 'o-1', 'monday', 1);
    const first = await shop.react(reaction);
    await shop.until(first.whenCaughtUp());
    expect(handled).toEqual([]);
    await shop.sell('acme', 'o-1', 'monday', 1);
    const { position } = await shop.sell('globex', 'o-2', 'monday', 1);
    await shop.until(first.whenCaughtUp({ position }));
    await shop.until(first.stop());
    await shop.sell('acme', 'o-1', 'monday', 1);
    await shop.clock.advance(300);
    expect(await first.lag()).toEqual({ events: 1, ms: 300 });
    const second = await shop.react(reaction);
    await shop.until(second.whenCaughtUp());
    expect(handled.sort()).toEqual(['acme o-1 2', 'acme o-1 3', 'globex o-2 1']);
    expect(await second.lag()).toEqual({ events: 0, ms: 0 });
    expect(second.health()).toMatchObject({ reaction: 'mails', status: 'up' });
    expect(await refusal(first.start())).toBe(
      "INVALID_STATE: The reaction 'mails' was stopped; make another runner.",
    );
  });

  it('runs so many handlers at the same time as it may, and one for each stream', async () => {
    await using shop = await openReactionShop();
    const handlers = new Handlers();
    const runner = await shop.react(reactionTo(handlers.placed, { concurrency: 3 }));
    for (const id of ['a', 'a', 'b', 'c', 'd']) {
      await shop.sell('acme', id, 'monday', 1);
      await shop.settle();
    }
    expect(handlers.begun).toEqual(['acme a 1', 'acme b 1', 'acme c 1']);
    handlers.end('acme b 1');
    await shop.settle();
    expect(handlers.begun.slice(3)).toEqual(['acme d 1']);
    handlers.end('acme a 1');
    await shop.settle();
    expect(handlers.begun.slice(4)).toEqual(['acme a 2']);
    for (const name of ['acme c 1', 'acme d 1', 'acme a 2']) handlers.end(name);
    await shop.until(runner.whenCaughtUp());
    expect(handlers.most).toBe(3);
  });

  it('does not let a tenant whose handler hangs hold up others', async () => {
    await using shop = await openReactionShop();
    const handlers = new Handlers();
    let count = 0;
    const reaction = reactionTo(
      async (given) => {
        if (given.tenant === 'acme') await handlers.placed(given);
        count += 1;
      },
      { concurrency: 2 },
    );
    const runner = await shop.react(reaction);
    await shop.sell('acme', 'a', 'monday', 1);
    await shop.settle();
    const many = Array.from({ length: 150 }, () => placed('monday', 1)[0]);
    const globex = shop.orders.forTenant('globex');
    for (const id of ['a', 'b', 'c']) await globex.append(id, many, { expectedVersion: 0 });
    await shop.until(runner.whenCaughtUp({ tenant: 'globex' }));
    expect([count, handlers.running]).toEqual([450, 1]);
    await shop.sell('acme', 'b', 'monday', 1);
    handlers.end('acme a 1');
    await shop.clock.advance(10_000);
    await shop.settle();
    handlers.end('acme b 1');
    await shop.until(runner.whenCaughtUp());
    expect(count).toBe(452);
  });

  it('goes on with a slow tenant while its workers still wait behind those of another', async () => {
    await using shop = await openReactionShop();
    const handlers = new Handlers();
    const runner = await shop.react(reactionTo(handlers.placed, { concurrency: 1 }));
    await shop.sell('acme', 'a', 'monday', 1);
    await shop.settle();
    // more than the window holds: acme is left behind, and read by itself
    const many = Array.from({ length: 250 }, () => placed('monday', 1)[0]);
    await shop.orders.forTenant('globex').append('g', many, { expectedVersion: 0 });
    await shop.settle();
    await shop.clock.advance(1_000);
    await shop.settle();
    expect(runner.health().partitions[0]?.behind).toMatchObject([{ tenant: 'acme', state: 'retrying' }]);
    await shop.sell('acme', 'a', 'monday', 1);
    handlers.end('acme a 1');
    await shop.settle();
    expect(handlers.begun).toEqual(['acme a 1', 'globex g 1']);
    handlers.end('globex g 1');
    await shop.settle();
    expect(handlers.begun.slice(2)).toEqual(['acme a 2']);
  });

  it('with one handler at a time follows the order of the feed', async () => {
    await using shop = await openReactionShop();
    const handled: string[] = [];
    const reaction = reactionTo((given) => handled.push(nameOf(given)), { concurrency: 1 });
    for (const id of ['a', 'b', 'a', 'c', 'b', 'a']) await shop.sell('acme', id, 'monday', 1);
    await shop.until((await shop.react(reaction)).whenCaughtUp());
    expect(handled.map((name) => name.slice(5))).toEqual(['a 1', 'b 1', 'a 2', 'c 1', 'b 2', 'a 3']);
  });

  it('stores each success, so that a crash repeats only what was running, with the same id', async () => {
    await using shop = await openReactionShop();
    const handlers = new Handlers();
    const reaction = reactionTo(handlers.placed, { concurrency: 2 });
    for (const id of ['slow', 'a', 'b', 'b', 'c']) await shop.sell('acme', id, 'monday', 1);
    const crashed = await shop.react(reaction, { stopTimeoutMs: 0 });
    await shop.settle();
    for (const name of ['acme a 1', 'acme b 1', 'acme b 2']) {
      handlers.end(name);
      await shop.settle();
    }
    const begun = ['acme slow 1', 'acme a 1', 'acme b 1', 'acme b 2', 'acme c 1'];
    expect(handlers.begun).toEqual(begun);
    // its handlers never end, as in a process that is killed
    await shop.until(crashed.stop());
    const next = await shop.react(reaction);
    await shop.settle();
    expect(handlers.begun.slice(5)).toEqual([]);
    await shop.clock.advance(20_000);
    await shop.settle();
    expect(handlers.begun.slice(5)).toEqual(['acme slow 1', 'acme c 1']);
    for (const name of ['acme slow 1', 'acme c 1']) {
      const [first, ...others] = handlers.ids.get(name) ?? [];
      expect(others).toEqual([first]);
      handlers.end(name);
    }
    await shop.until(next.whenCaughtUp());
    expect(handlers.begun).toHaveLength(7);
  });

  it('takes other streams later, and refuses other partitions and options that are not allowed', async () => {
    await using shop = await openReactionShop();
    const News = defineStream('news', {
      events: { noted: event<{ text: string }>() },
      initial: () => 0,
      evolve: () => 0,
    });
    const handled: string[] = [];
    const handler = (): void => void handled.push('placed');
    await shop.until((await shop.react(reactionTo(handler))).stop());
    const both = defineReaction('mails', {
      streams: [Orders, News],
      on: { placed: handler, noted: ({ data }) => handled.push(data.text) },
    });
    const runner = await shop.react(both);
    await shop.orders.forTenant('acme').append('n', [{ type: 'noted', data: { text: 'one' } }], {
      expectedVersion: 0,
    });
    await shop.until(runner.whenCaughtUp());
    expect(handled).toEqual(['one']);
    expect(await refusal(shop.react(reactionTo(handler, { partitions: 2 })))).toBe(
      "INVALID_STATE: The reaction 'mails' was run with streams order in 1 partitions; got streams order in 2 partitions. Give it another name: it begins as a new one.",
    );
    const define =
      (options: object, name = 'a') =>
      () => {
        defineReaction(name, { streams: [Orders], on: { placed: handler }, ...options });
      };
    expect(define({}, ' ')).toThrow('name must be a string that is not blank');
    expect(define({ streams: [] })).toThrow('streams must be an array with at least one');
    expect(define({ on: {} })).toThrow('on must have a handler for one of placed, noted.');
    expect(define({ on: { plcaed: handler } })).toThrow("Did you mean 'placed'?");
    expect(define({ on: { placed: 'mail' } })).toThrow('placed must be a function; got "mail".');
    expect(define({ on: null })).toThrow('on must be an object of handlers; got null.');
    expect(define({ concurrency: 0 })).toThrow('concurrency must be a whole number from 1 to 1000; got 0.');
    expect(define({ timeoutMs: 0.5 })).toThrow('timeoutMs must be a whole number from 1');
    expect(define({ from: 'yesterday' })).toThrow("from must be 'now' or 'beginning'; got \"yesterday\".");
    expect(define({ version: 2 })).toThrow("has no option 'version'");
    expect(() => new ReactionRunner(shop.storage, {} as never)).toThrow('must come from defineReaction');
    expect(() => new ReactionRunner(shop.storage, both, { stopTimeoutMs: -1 })).toThrow('stopTimeoutMs');
  });
});

describe('a handler that fails', () => {
  const broken = new Error('The mail server is away.');

  it('is called again, with what is behind it in its stream waiting, until its tenant stops', async () => {
    await using shop = await openReactionShop();
    const handled: string[] = [];
    let isBroken = true;
    const reaction = reactionTo((given) => {
      handled.push(nameOf(given));
      if (isBroken && given.tenant === 'acme' && given.stream === 'bad') throw broken;
    });
    for (const id of ['a', 'bad', 'bad', 'b']) await shop.sell('acme', id, 'monday', 1);
    await shop.sell('globex', 'bad', 'monday', 1);
    const runner = await shop.react(reaction, { retry: { attempts: 3, delayMs: 10 } });
    expect(await refusal(shop.until(runner.whenCaughtUp()))).toBe(
      'REACTION_STOPPED: The reaction \'mails\' is stopped at order "bad", version 1.',
    );
    await shop.until(runner.whenCaughtUp({ tenant: 'globex' }));
    const count = (name: string) => handled.filter((each) => each === name).length;
    expect(['acme a 1', 'acme bad 1', 'acme bad 2', 'globex bad 1'].map(count)).toEqual([1, 3, 0, 1]);
    expect(runner.health()).toMatchObject({
      status: 'degraded',
      partitions: [{ behind: [{ tenant: 'acme', state: 'stopped', reason: broken.message }] }],
    });
    isBroken = false;
    runner.retry({ tenant: 'acme' });
    await shop.until(runner.whenCaughtUp());
    expect(['acme a 1', 'acme bad 1', 'acme bad 2', 'acme b 1'].map(count)).toEqual([1, 4, 1, 1]);
  });

  it('is called again while a worker of before still waits behind another tenant', async () => {
    await using shop = await openReactionShop();
    const handlers = new Handlers();
    const reaction = reactionTo(handlers.placed, { concurrency: 1 });
    const runner = await shop.react(reaction, { retry: { attempts: 5, delayMs: 10 } });
    await shop.sell('acme', 'a', 'monday', 1);
    await shop.sell('globex', 'g', 'monday', 1);
    await shop.settle();
    handlers.end('acme a 1', broken);
    await shop.settle();
    expect(handlers.begun).toEqual(['acme a 1', 'globex g 1']);
    await shop.clock.advance(100);
    await shop.settle();
    handlers.end('globex g 1');
    await shop.settle();
    expect(handlers.begun.slice(2)).toEqual(['acme a 1']);
    handlers.end('acme a 1');
    await shop.until(runner.whenCaughtUp());
    expect(handlers.most).toBe(1);
  });

  it("with onError: 'park' puts its stream aside, until it is tried again in its order", async () => {
    await using shop = await openReactionShop();
    const handled: string[] = [];
    let isBroken = true;
    const reaction = reactionTo((given) => {
      if (isBroken && given.stream === 'bad') throw broken;
      handled.push(nameOf(given));
    });
    const options = { onError: 'park', retry: { attempts: 2, delayMs: 10 } } as const;
    for (const id of ['a', 'bad', 'b', 'bad', 'a']) await shop.sell('acme', id, 'monday', 1);
    const runner = await shop.react(reaction, options);
    await shop.until(runner.whenCaughtUp());
    expect(handled.splice(0).sort()).toEqual(['acme a 1', 'acme a 2', 'acme b 1']);
    expect(await runner.parked({ tenant: 'acme' })).toMatchObject([{ stream: 'bad', version: 1 }]);
    await shop.until(runner.stop());
    const next = await shop.react(reaction, options);
    await shop.sell('acme', 'bad', 'monday', 1);
    await shop.sell('acme', 'b', 'monday', 1);
    await shop.until(next.whenCaughtUp());
    expect(handled.splice(0)).toEqual(['acme b 2']);
    isBroken = false;
    expect(await shop.until(next.retryParked({ tenant: 'acme' }))).toEqual([]);
    await shop.sell('acme', 'bad', 'monday', 1);
    await shop.until(next.whenCaughtUp());
    expect(handled).toEqual(['acme bad 1', 'acme bad 2', 'acme bad 3', 'acme bad 4']);
  });

  it('after its time gets an aborted signal, and is called again', async () => {
    await using shop = await openReactionShop();
    const reasons: unknown[] = [];
    const runner = await shop.react(
      reactionTo(
        async (_, { signal }) => {
          if (reasons.length > 0) return;
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
          reasons.push((signal.reason as Error).message);
          throw signal.reason;
        },
        { timeoutMs: 1_000 },
      ),
    );
    await shop.sell('acme', 'a', 'monday', 1);
    await shop.until(runner.whenCaughtUp());
    expect(reasons).toEqual(["The handler of the reaction 'mails' did not end in 1000 ms."]);
  });

  it('is not called for an event that cannot be read, which stops its tenant', async () => {
    await using shop = await openReactionShop();
    const options = { initial: () => 0, evolve: () => 0 };
    const Other = defineStream('order', { ...options, events: { unknown: event() } });
    const others = new EventStore(shop.storage).stream(Other);
    await others.forTenant('acme').append('o-1', [{ type: 'unknown' }], { expectedVersion: 0 });
    await shop.sell('globex', 'o-1', 'monday', 4);
    const handled: string[] = [];
    const reaction = reactionTo((given) => handled.push(nameOf(given)));
    const runner = await shop.react(reaction, { retry: { attempts: 2, delayMs: 1 } });
    await shop.until(runner.whenCaughtUp({ tenant: 'globex' }));
    expect(await refusal(shop.until(runner.whenCaughtUp()))).toContain('REACTION_STOPPED');
    expect(handled).toEqual(['globex o-1 1']);
  });
});

describe('an event type that has a handler from now on', () => {
  const broken = new Error('The mail server is away.');
  /** What a release handles that has a handler for both event types. */
  const both = (onPlaced: (event: Placed) => unknown) => {
    const notes: string[] = [];
    const reaction = defineReaction('mails', {
      streams: [Orders],
      from: 'beginning',
      on: { placed: onPlaced, noted: ({ tenant, data }) => notes.push(`${tenant} ${data.text}`) },
    });
    return { reaction, notes };
  };
  const note = async (shop: ReactionShop, tenant: string, text: string, count = 1): Promise<void> => {
    const events = Array.from({ length: count }, () => ({ type: 'noted', data: { text } }) as const);
    await shop.orders.forTenant(tenant).append('notes', events, { expectedVersion: 'any' });
  };
  /** A release without it, which has passed notes of two tenants over; one has no checkpoint. */
  const formerRelease = async (shop: ReactionShop): Promise<void> => {
    await shop.sell('acme', 'a', 'monday', 1);
    await note(shop, 'acme', 'former', 250);
    await note(shop, 'globex', 'former', 250);
    const runner = await shop.react(reactionTo(() => undefined));
    await shop.until(runner.whenCaughtUp());
    await shop.until(runner.stop());
  };

  it('is not handled for what was passed over, where a tenant fails', async () => {
    await using shop = await openReactionShop();
    await formerRelease(shop);
    const placedOrders: string[] = [];
    const { reaction, notes } = both((given) => {
      placedOrders.push(nameOf(given));
      if (placedOrders.filter((each) => each === nameOf(given)).length === 1) throw broken;
    });
    const runner = await shop.react(reaction, { retry: { attempts: 3, delayMs: 10 } });
    await shop.until(runner.whenCaughtUp());
    expect([placedOrders, notes]).toEqual([[], []]);
    for (const tenant of ['acme', 'globex']) {
      await shop.sell(tenant, 'a', 'monday', 1);
      await note(shop, tenant, 'new');
    }
    await shop.until(runner.whenCaughtUp());
    expect(placedOrders.sort()).toEqual(['acme a 2', 'acme a 2', 'globex a 1', 'globex a 1']);
    expect(notes.sort()).toEqual(['acme new', 'globex new']);
  });

  it('is not handled for what was passed over, where a tenant is slow until a restart', async () => {
    await using shop = await openReactionShop();
    await formerRelease(shop);
    const handlers = new Handlers();
    const { reaction, notes } = both(async (given) => {
      if (given.tenant === 'acme') await handlers.placed(given);
    });
    const runner = await shop.react(reaction);
    await shop.sell('acme', 'a', 'monday', 1);
    const many = Array.from({ length: 250 }, () => placed('monday', 1)[0]);
    await shop.orders.forTenant('initech').append('a', many, { expectedVersion: 0 });
    await shop.settle();
    await shop.clock.advance(1_000);
    await shop.settle();
    expect(runner.health().partitions[0]?.behind).toMatchObject([{ tenant: 'acme' }]);
    await note(shop, 'acme', 'new');
    const stopped = runner.stop();
    handlers.end('acme a 2', broken);
    await shop.until(stopped);
    const next = await shop.react(reaction);
    await shop.settle();
    handlers.end('acme a 2');
    await shop.until(next.whenCaughtUp());
    expect([handlers.begun, notes]).toEqual([['acme a 2', 'acme a 2'], ['acme new']]);
  });

  it('is handled from the event on at which a tenant has stopped, also after a restart', async () => {
    await using shop = await openReactionShop();
    await formerRelease(shop);
    const stopped = await shop.react(
      reactionTo(({ stream }) => {
        if (stream === 'bad') throw broken;
      }),
      { retry: { attempts: 2, delayMs: 10 } },
    );
    for (const tenant of ['acme', 'globex']) {
      await note(shop, tenant, 'before');
      await shop.sell(tenant, 'bad', 'monday', 1);
      await note(shop, tenant, 'after');
    }
    await shop.until(stopped.whenCaughtUp().catch(() => undefined));
    await shop.clock.advance(1_000);
    await shop.settle();
    expect(stopped.health().partitions[0]?.behind).toMatchObject([
      { tenant: 'acme', state: 'stopped' },
      { tenant: 'globex', state: 'stopped' },
    ]);
    await shop.until(stopped.stop());
    const [placedOrders, allNotes]: [string[], string[]] = [[], []];
    for (const isFixed of [false, true]) {
      const { reaction, notes } = both((given) => {
        if (!isFixed) throw broken;
        placedOrders.push(nameOf(given));
      });
      const runner = await shop.react(reaction, { retry: { attempts: 2, delayMs: 10 } });
      await shop.until(runner.whenCaughtUp().catch(() => undefined));
      await shop.until(runner.stop());
      allNotes.push(...notes);
    }
    expect(placedOrders.sort()).toEqual(['acme bad 1', 'globex bad 1']);
    expect(allNotes.sort()).toEqual(['acme after', 'globex after']);
  });

  it('is handled from the checkpoint on of a tenant that a release before this one has left behind', async () => {
    await using shop = await openReactionShop();
    await formerRelease(shop);
    const rows = { container: 'kvent.reactions', scope: 'shared' } as const;
    const readers = shop.storage.store(
      defineState<{ position: string; behind: readonly string[] }>('mails', rows),
    );
    const { key, value } = await readers.getOrThrow(['reader', 1, 0]);
    expect(value).toEqual({ position: value.position, behind: [] });
    await readers.set(key, { ...value, behind: ['tenant:acme'] });
    const { reaction, notes } = both(() => undefined);
    await shop.until((await shop.react(reaction)).whenCaughtUp());
    expect(notes).toEqual(Array(250).fill('acme former'));
  });
});

describe('a storage that fails', () => {
  const orders = async (shop: Awaited<ReturnType<typeof openReactionShop>>): Promise<readonly string[]> => {
    const names: string[] = [];
    for (let index = 0; index < 18; index += 1) {
      const [tenant, id] = [index % 2 === 0 ? 'acme' : 'globex', `o-${index % 6}`];
      const { version } = await shop.sell(tenant, id, 'monday', 1);
      names.push(`${tenant} ${id} ${version}`);
    }
    return names;
  };
  /** In the order of their streams, repetitions beside each other. */
  const isInOrder = (handled: readonly string[]): boolean => {
    const last = new Map<string, number>();
    return handled.every((name) => {
      const [, stream = '', version] = /^(.*) (\d+)$/.exec(name) ?? [];
      const before = last.get(stream) ?? 0;
      last.set(stream, Number(version));
      return Number(version) === before || Number(version) === before + 1;
    });
  };

  it.each(['refuse', 'lose the answer'] as const)(
    'at any commit (%s) leaves each event handled once, in order',
    async (fault) => {
      let failing = 0;
      for (let isReached = true; isReached; failing += 1) {
        let [commits, first] = [0, Number.POSITIVE_INFINITY];
        const faultOf = (index: number): Fault => {
          commits = index + 1;
          return index - first === failing ? fault : 'none';
        };
        await using shop = await openReactionShop((provider) => faulty(provider, faultOf));
        const names = await orders(shop);
        first = commits;
        const handled: string[] = [];
        const reaction = reactionTo((given) => handled.push(nameOf(given)), { partitions: 2 });
        const start = async () => await shop.react(reaction);
        const runner = await start().catch(start);
        await shop.until(runner.whenCaughtUp());
        expect({ failing, handled: [...handled].sort() }).toEqual({ failing, handled: [...names].sort() });
        expect(isInOrder(handled)).toBe(true);
        isReached = commits - first > failing;
      }
      expect(failing).toBeGreaterThan(9);
    },
  );

  it('from any commit on, as in a crash, leaves the rest to the next process, in order', async () => {
    for (let crash = 0; crash < 24; crash += 1) {
      let [commits, first, isDown] = [0, Number.POSITIVE_INFINITY, true];
      const faultOf = (index: number): Fault => {
        commits = index + 1;
        if (!isDown || index - first < crash || index < first) return 'none';
        return index - first === crash ? 'lose the answer' : 'refuse';
      };
      await using shop = await openReactionShop((provider) => faulty(provider, faultOf));
      const names = await orders(shop);
      first = commits;
      const handled: string[] = [];
      const reaction = reactionTo((given) => handled.push(nameOf(given)), { concurrency: 3 });
      const crashed = await shop.react(reaction).catch(() => undefined);
      await shop.until(Promise.resolve(crashed?.whenCaughtUp({ timeoutMs: 500 })).catch(() => undefined));
      await shop.until(Promise.resolve(crashed?.stop()));
      isDown = false;
      const next = await shop.react(reaction);
      await shop.until(next.whenCaughtUp());
      expect([...new Set(handled)].sort()).toEqual([...names].sort());
      expect(isInOrder(handled)).toBe(true);
      // at most the handlers that were running, of each tenant
      expect(handled.length).toBeLessThanOrEqual(names.length + 2 * 3);
    }
  });
});

describe('several processes', () => {
  const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
  const sellAll = async (shop: Awaited<ReturnType<typeof openReactionShop>>): Promise<void> => {
    for (const id of ids) await shop.sell('acme', id, 'monday', 1);
  };

  it('hand a partition over after the handlers that run, so that no event is handled twice', async () => {
    await using shop = await openReactionShop();
    const handlers = new Handlers();
    const reaction = reactionTo(handlers.placed, { partitions: 2, concurrency: 10 });
    const one = await shop.react(reaction);
    await sellAll(shop);
    await shop.settle();
    expect(handlers.running).toBe(6);
    const two = await shop.react(reaction);
    await shop.clock.advance(8_000);
    await shop.settle();
    for (const id of ids) handlers.end(`acme ${id} 1`);
    await shop.until(one.whenCaughtUp());
    await shop.clock.advance(8_000);
    await shop.until(two.whenCaughtUp());
    const states = [one, two].map((each) =>
      each
        .health()
        .partitions.map(({ state }) => state)
        .sort(),
    );
    expect(states).toEqual([
      ['running', 'waiting'],
      ['running', 'waiting'],
    ]);
    expect(handlers.begun).toHaveLength(6);
  });

  it('begin no handler after another one has taken over, also where a clock stood still', async () => {
    await using shop = await openReactionShop();
    const asleep = new Handlers();
    const awake: string[] = [];
    for (const id of ['a', 'a', 'b', 'c']) await shop.sell('acme', id, 'monday', 1);
    const one = await shop.react(reactionTo(asleep.placed, { concurrency: 2 }));
    await shop.settle();
    expect(asleep.begun).toEqual(['acme a 1', 'acme b 1']);
    const rows = { container: 'kvent.reactions', scope: 'shared' } as const;
    await shop.storage.store(defineState<object>('mails leases', rows)).clear();
    const two = await shop.react(reactionTo((given) => awake.push(nameOf(given)), { concurrency: 2 }));
    await shop.until(two.whenCaughtUp());
    expect(awake).toEqual(['acme a 1', 'acme b 1', 'acme a 2', 'acme c 1']);
    for (const name of ['acme a 1', 'acme b 1']) asleep.end(name);
    await shop.settle();
    await shop.sell('acme', 'd', 'monday', 1);
    await shop.until(two.whenCaughtUp());
    await shop.clock.advance(20_000);
    expect(asleep.begun).toHaveLength(2);
    expect(awake.slice(4)).toEqual(['acme d 1']);
    expect(one.health().partitions).toMatchObject([{ state: 'waiting' }]);
  });

  it('begin no handler once the own lease may have expired, before its loss is known', async () => {
    let [isHanging, release] = [false, (): void => undefined];
    const released = new Promise<void>((resolve) => (release = resolve));
    await using shop = await openReactionShop((provider) => {
      const commit: StorageProvider['commit'] = async (batches, options) => {
        if (isHanging && JSON.stringify(batches).includes('leases')) await released;
        return await provider.commit(batches, options);
      };
      return new Proxy(provider, {
        get: (target, name) => {
          const member: unknown = name === 'commit' ? commit : Reflect.get(target, name, target);
          return typeof member === 'function' ? (member as () => unknown).bind(target) : member;
        },
      });
    });
    try {
      const handlers = new Handlers();
      for (let index = 0; index < 3; index += 1) await shop.sell('acme', 'a', 'monday', 1);
      await shop.react(reactionTo(handlers.placed));
      await shop.settle();
      isHanging = true;
      await shop.clock.advance(9_000);
      handlers.end('acme a 1');
      await shop.settle();
      expect(handlers.begun).toEqual(['acme a 1', 'acme a 2']);
      await shop.clock.advance(1_000);
      handlers.end('acme a 2');
      await shop.settle();
      expect(handlers.begun).toHaveLength(2);
    } finally {
      release();
    }
  });
});

describe('a process that ends', () => {
  it('aborts the signals, waits for its handlers, and stores what they have done', async () => {
    await using shop = await openReactionShop();
    const handled: string[] = [];
    const reaction = reactionTo(async (given, { signal }) => {
      handled.push(nameOf(given));
      if (given.stream === 'kept') return;
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      if (given.stream === 'given up') throw signal.reason;
    });
    for (const id of ['ended', 'given up', 'kept']) await shop.sell('acme', id, 'monday', 1);
    const one = await shop.react(reaction);
    await shop.settle();
    await shop.until(one.stop());
    const two = await shop.react(reactionTo((given) => handled.push(nameOf(given))));
    await shop.until(two.whenCaughtUp());
    expect(handled).toEqual(['acme ended 1', 'acme given up 1', 'acme kept 1', 'acme given up 1']);
  });
});
