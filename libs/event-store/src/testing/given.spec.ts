import { AssertionError } from 'node:assert';
import { describe, expect, it } from '@jest/globals';
import { defineStream, event, type EventOf, type StateOf } from '@kvent/event-store/core';
import { given } from './given.js';

const Cups = defineStream('cup', {
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
type Cup = StateOf<typeof Cups>;
type CupEvent = EventOf<typeof Cups>;

class Spilt extends Error {}
const fill =
  (ml: number) =>
  (cup: Cup): CupEvent[] => {
    if (cup.ml + ml > 250) throw new Spilt(`${cup.ml + ml} ml are too much.`);
    return ml === 0 ? [] : [{ type: 'filled', data: { ml } }];
  };

describe('given … when … then', () => {
  it('holds where the decision is the one expected, by its events, its state or its error', () => {
    const half = given(Cups, [
      { type: 'filled', data: { ml: 100 } },
      { type: 'emptied' },
      { type: 'filled', data: { ml: 125 } },
    ]);
    half.when(fill(100)).then([{ type: 'filled', data: { ml: 100 } }]);
    half.when(fill(100)).thenState({ ml: 225, fillings: [100, 125, 100] });
    half.when(fill(0)).then([]);
    half.when(fill(200)).thenThrows(Spilt);
    half.when(fill(200)).thenThrows('325 ml');
    given(Cups, [])
      .when(fill(1))
      .thenState({ ml: 1, fillings: [1] });
  });

  it('fails where it is another one', () => {
    const empty = given(Cups, []);
    const wrong: (() => void)[] = [
      () => empty.when(fill(1)).then([]),
      () => empty.when(fill(1)).then([{ type: 'filled', data: { ml: 2 } }]),
      () => empty.when(fill(1)).then([{ type: 'filled', data: { ml: 1 } }, { type: 'emptied' }]),
      () => empty.when(fill(1)).thenState({ ml: 2, fillings: [1] }),
      () => empty.when(fill(1)).thenThrows(Spilt),
      () => empty.when(fill(300)).thenThrows('another text'),
      () => empty.when(fill(300)).thenThrows(RangeError),
    ];
    for (const claim of wrong) expect(claim).toThrow(AssertionError);
    expect(() => empty.when(fill(300)).then([])).toThrow(Spilt);
  });

  it('tells the decision which stream it is on', () => {
    given(Cups, [{ type: 'emptied' }])
      .when((_, { id, version }) => [{ type: 'filled', data: { ml: id.length * 10 + version } }])
      .then([{ type: 'filled', data: { ml: 51 } }]);
  });

  it('takes an event without data and one whose data are undefined for the same, and compares what can be stored', () => {
    const at = new Date(0);
    given(Cups, [])
      .when(() => [
        { type: 'emptied', data: undefined },
        { type: 'filled', data: { ml: 1, at } },
      ])
      .then([{ type: 'emptied' }, { type: 'filled', data: { ml: 1, at: new Date(0) } }]);
  });

  it('hands evolve what it gets in a stream: what changes an event fails here already, and so does what cannot be stored', () => {
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
    expect(() => given(Cups, [{ type: 'filled', data: new Ml() }])).toThrow(
      expect.objectContaining({ code: 'INVALID_VALUE' }),
    );
    expect(() => given(Cups, [{ type: 'washed' } as never])).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/has no event 'washed'; it has filled, emptied/),
      }),
    );
  });
});
