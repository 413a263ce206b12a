import { AssertionError } from 'node:assert';
import { describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore, type EventOf, type StateOf } from '@kvent/event-store/core';
import { defineState, MemoryProvider, openStorage, type AtomicChanges } from '@kvent/key-value-storage/core';
import { z } from 'zod';
import { given } from './given.js';

const Cup = defineStream('cup', {
  events: { filled: event<{ ml: number; at?: Date }>(), emptied: event() },
  initial: () => ({ ml: 0, fillings: [] as readonly number[] }),
  evolve: (cup, event) => {
    switch (event.type) {
      case 'filled':
        return { ml: cup.ml + event.data.ml, fillings: [...cup.fillings, event.data.ml] };
      case 'emptied':
        return { ...cup, ml: 0 };
    }
  },
});
type CupState = StateOf<typeof Cup>;
type CupEvent = EventOf<typeof Cup>;

class OverflowError extends Error {}
const fill =
  (ml: number) =>
  (cup: CupState): CupEvent[] => {
    if (cup.ml + ml > 250) throw new OverflowError(`${cup.ml + ml} ml are too much.`);
    return ml === 0 ? [] : [{ type: 'filled', data: { ml } }];
  };

describe('given … when … then', () => {
  it('passes when the events, the state or the error of the decision are as expected', () => {
    const half = given(Cup, [
      { type: 'filled', data: { ml: 100 } },
      { type: 'emptied' },
      { type: 'filled', data: { ml: 125 } },
    ]);
    half.when(fill(100)).then([{ type: 'filled', data: { ml: 100 } }]);
    half.when(fill(100)).thenState({ ml: 225, fillings: [100, 125, 100] });
    half.when(fill(0)).then([]);
    half.when(fill(200)).thenThrows(OverflowError);
    half.when(fill(200)).thenThrows('325 ml');
    given(Cup, [])
      .when(fill(1))
      .thenState({ ml: 1, fillings: [1] });
  });

  it('fails when they are different', () => {
    const empty = given(Cup, []);
    const wrongAssertions: (() => void)[] = [
      () => empty.when(fill(1)).then([]),
      () => empty.when(fill(1)).then([{ type: 'filled', data: { ml: 2 } }]),
      () => empty.when(fill(1)).then([{ type: 'filled', data: { ml: 1 } }, { type: 'emptied' }]),
      () => empty.when(fill(1)).thenState({ ml: 2, fillings: [1] }),
      () => empty.when(fill(1)).thenThrows(OverflowError),
      () => empty.when(fill(300)).thenThrows('another text'),
      () => empty.when(fill(300)).thenThrows(RangeError),
    ];
    for (const assertion of wrongAssertions) expect(assertion).toThrow(AssertionError);
    expect(() => empty.when(fill(300)).then([])).toThrow(OverflowError);
  });

  it('passes the id and the version of the stream to the decision', () => {
    given(Cup, [{ type: 'emptied' }])
      .when((_, { id, version }) => [{ type: 'filled', data: { ml: id.length * 10 + version } }])
      .then([{ type: 'filled', data: { ml: 51 } }]);
  });

  it('treats undefined data like missing data, and compares values such as dates', () => {
    const at = new Date(0);
    given(Cup, [])
      .when(() => [
        { type: 'emptied', data: undefined },
        { type: 'filled', data: { ml: 1, at } },
      ])
      .then([{ type: 'emptied' }, { type: 'filled', data: { ml: 1, at: new Date(0) } }]);
  });

  it('passes frozen events to evolve, as a stream does, and refuses events that cannot be stored', () => {
    const Lists = defineStream('list', {
      events: { began: event<{ items: string[] }>(), added: event<{ item: string }>() },
      initial: () => [] as string[],
      evolve: (list, event) => {
        if (event.type === 'began') return event.data.items;
        list.push(event.data.item);
        return list;
      },
    });
    const events: EventOf<typeof Lists>[] = [
      { type: 'began', data: { items: ['a'] } },
      { type: 'added', data: { item: 'b' } },
    ];
    expect(() => given(Lists, events)).toThrow(TypeError);
    expect(events).toEqual([
      { type: 'began', data: { items: ['a'] } },
      { type: 'added', data: { item: 'b' } },
    ]);
    class Ml {
      readonly ml = 1;
    }
    expect(() => given(Cup, [{ type: 'filled', data: new Ml() }])).toThrow(
      expect.objectContaining({ code: 'INVALID_VALUE' }),
    );
    expect(() => given(Cup, [{ type: 'washed' } as never])).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/has no event 'washed'; it has filled, emptied/),
      }),
    );
  });

  it('awaits a decision that is asynchronous', async () => {
    const look = async (cup: CupState): Promise<CupEvent[]> => {
      await Promise.resolve();
      return fill(cup.ml)(cup);
    };
    const half = given(Cup, [{ type: 'filled', data: { ml: 100 } }]).when(look);
    await half.then([{ type: 'filled', data: { ml: 100 } }]);
    await half.thenState({ ml: 200, fillings: [100, 100] });
    const full = given(Cup, [{ type: 'filled', data: { ml: 200 } }]).when(look);
    await full.thenThrows(OverflowError);
    await full.thenThrows('400 ml');
    const wrongAssertions = [
      () => half.then([]),
      () => half.thenState({ ml: 100, fillings: [100] }),
      () => half.thenThrows(OverflowError),
      () => half.thenThrows('400 ml'),
      () => full.thenThrows('another text'),
      () => full.thenThrows(RangeError),
    ];
    for (const assertion of wrongAssertions) await expect(assertion()).rejects.toThrow(AssertionError);
    await expect(full.then([])).rejects.toThrow(OverflowError);
  });

  it('compares what the decision puts into its batch', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const levels = storage.store(defineState<{ ml: number }>('level'));
    const cups = new EventStore(storage).stream(Cup);
    const pour: Parameters<typeof cups.transact>[1] = async (cup, { id, batch }) => {
      const other = await cups.load('other');
      batch.set(levels, id, { ml: 0 }).include(cups.appending(other, fill(cup.ml)(other.state)));
      return [{ type: 'emptied' }];
    };
    const poured = (ml: number) => [{ type: 'filled', data: { ml } }] as const;
    const half = given(Cup, poured(100)).when(async (cup, context) => await pour(cup, context));
    await half.then([{ type: 'emptied' }]);
    const other = await cups.load('other');
    await half.thenBatch((batch) =>
      batch.set(levels, 'given', { ml: 0 }).include(cups.appending(other, poured(100))),
    );
    for (const expected of [
      (batch: AtomicChanges) => batch,
      (batch: AtomicChanges) =>
        batch.set(levels, 'given', { ml: 1 }).include(cups.appending(other, poured(100))),
      (batch: AtomicChanges) =>
        batch.set(levels, 'given', { ml: 0 }).include(cups.appending(other, poured(99))),
    ])
      await expect(half.thenBatch(expected)).rejects.toThrow(AssertionError);
    expect(await levels.count()).toBe(0);
    given(Cup, [])
      .when((_, { batch }) => {
        batch.delete(levels, 'given');
        return [];
      })
      .thenBatch((batch) => batch.delete(levels, 'given'));
    // of an asynchronous function nothing that it expects later would be compared
    const late = async (): Promise<void> => await Promise.reject(new Error('unhandled'));
    expect(() =>
      given(Cup, [])
        .when(() => [])
        .thenBatch(late as () => never),
    ).toThrow('thenBatch: its function must not be asynchronous');
  });

  it('validates the events of a decision by their schemas, as a stream does', async () => {
    const ml = z.object({ ml: z.number().default(10) });
    const slow = ml.refine(async (data) => Promise.resolve(data.ml < 100));
    const Glasses = defineStream('glass', {
      events: { filled: event(ml), topped: slow },
      initial: () => 0,
      evolve: (total, { data }) => total + data.ml,
    });
    const empty = given(Glasses, []);
    const filled = empty.when(() => [{ type: 'filled', data: {} }]);
    filled.thenState(10);
    filled.then([{ type: 'filled', data: { ml: 10 } }]);
    filled.then([{ type: 'filled', data: {} }]);
    empty.when(() => [{ type: 'filled', data: { ml: '1' as never } }]).thenThrows('cannot be stored: ml');
    await empty.when(async () => [{ type: 'topped', data: { ml: 1 } }]).thenState(1);
    await empty.when(async () => [{ type: 'topped', data: { ml: 100 } }]).thenThrows('cannot be stored');
  });
});
