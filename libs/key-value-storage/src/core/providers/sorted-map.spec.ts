import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SortedMap } from './sorted-map.js';

const key = fc.integer({ min: 0, max: 3_000 }).map((index) => `k${String(index).padStart(4, '0')}`);

type Visit = (key: string, value: number) => boolean;

/** The entries that are visited, when the visit ends after `max` of them. */
function visited(
  walk: (visit: Visit) => void,
  max = Number.POSITIVE_INFINITY,
): (readonly [string, number])[] {
  const entries: (readonly [string, number])[] = [];
  walk((key, value) => entries.push([key, value]) < max);
  return entries;
}

/** The same with a plain Map, sorted whenever it is asked. */
function check(map: SortedMap<number>, model: ReadonlyMap<string, number>, at: string): void {
  const sorted = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
  expect(map.size).toBe(model.size);
  expect([...map.ascending()]).toEqual(sorted);
  expect([...map.ascending(at)]).toEqual(sorted.filter(([each]) => each >= at));
  const down = sorted.toReversed();
  const downFrom = down.filter(([each]) => each < at);
  expect(visited((visit) => map.visitDescending(undefined, visit))).toEqual(down);
  expect(visited((visit) => map.visitDescending(at, visit))).toEqual(downFrom);
  expect(visited((visit) => map.visitDescending(at, visit), 3)).toEqual(downFrom.slice(0, 3));
  const upFrom = sorted.filter(([each]) => each >= at);
  expect(visited((visit) => map.visitAscending('', visit))).toEqual(sorted);
  expect(visited((visit) => map.visitAscending(at, visit))).toEqual(upFrom);
  expect(visited((visit) => map.visitAscending(at, visit), 3)).toEqual(upFrom.slice(0, 3));
  expect(map.get(at)).toBe(model.get(at));
}

test('is a plain map in key order, whatever was set and deleted, over several chunks', () => {
  const change = fc.oneof(
    { arbitrary: fc.record({ kind: fc.constant('set' as const), key, value: fc.integer() }), weight: 3 },
    { arbitrary: fc.record({ kind: fc.constant('delete' as const), key }), weight: 1 },
    // a stretch at once, so that chunks fill, split and empty
    {
      arbitrary: fc.record({
        kind: fc.constantFrom('fill' as const, 'clear' as const),
        key,
        count: fc.integer({ min: 1, max: 900 }),
      }),
      weight: 1,
    },
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 25 }), key, (changes, at) => {
      const [map, model] = [new SortedMap<number>(), new Map<string, number>()];
      const drop = (name: string): void => {
        expect(map.delete(name)).toBe(model.delete(name));
      };
      const set = (name: string, value: number): void => {
        map.set(name, value);
        model.set(name, value);
      };
      for (const each of changes) {
        if (each.kind === 'set') set(each.key, each.value);
        else if (each.kind === 'delete') drop(each.key);
        else {
          const from = Number(each.key.slice(1));
          for (let index = from; index < from + each.count; index += 1) {
            const name = `k${String(index).padStart(4, '0')}`;
            if (each.kind === 'fill') set(name, index);
            else drop(name);
          }
        }
      }
      check(map, model, at);
    }),
    { numRuns: 60 },
  );
});

test('keys that come in order, in reverse and at random are all found again', () => {
  const names = Array.from({ length: 2_000 }, (_, index) => `k${String(index).padStart(4, '0')}`);
  for (const order of [
    names,
    names.toReversed(),
    names.toSorted((a, b) => ((Number(a.slice(1)) * 7_919) % 2_003) - ((Number(b.slice(1)) * 7_919) % 2_003)),
  ]) {
    const map = new SortedMap<number>();
    for (const [index, name] of order.entries()) map.set(name, index);
    expect(Array.from(map.ascending(), ([name]) => name)).toEqual(names);
    for (const name of order) expect(map.delete(name)).toBe(true);
    expect([map.size, [...map.ascending()]]).toEqual([0, []]);
  }
});
