import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { feedPositionOf } from '../port/feed-position.js';
import type { FeedPosition, Row, RowAddress } from '../port/storage-provider.js';
import { FeedIndex } from './feed-index.js';

const positionOf = (number: number): FeedPosition => feedPositionOf(1 + (number % 2), number >> 1);
const addressOf = (key: number): RowAddress => ({ container: 'c', entity: 'e', key: String(key) });
const row: Row = { version: '1', updatedAt: 0, value: { kind: 'json', text: '1' } };
const number = fc.integer({ min: 0, max: 3_000 });

/** The positions and keys of a page that is long enough for all. */
function found(
  index: FeedIndex,
  after: FeedPosition | undefined,
): readonly (readonly [FeedPosition, string])[] {
  const { entries } = index.page(
    { after, limit: 10_000, databases: undefined, containers: undefined },
    { rowAt: () => row, time: 0, horizon: feedPositionOf(9, 0) },
  );
  return entries.map(({ position, address }) => [position, address.key] as const);
}

test('is a plain map in the order of positions, whatever was set and deleted, over several chunks', () => {
  // a stretch at once, so that chunks fill, split and empty
  const change = fc.record({
    kind: fc.constantFrom('set' as const, 'delete' as const),
    from: number,
    count: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 900 })),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), number, (changes, at) => {
      const [index, model] = [new FeedIndex(), new Map<FeedPosition, string>()];
      for (const [place, { kind, from, count }] of changes.entries())
        for (let each = from; each < from + count; each += 1) {
          const position = positionOf(each);
          if (kind === 'set') index.set(position, 'tenant:a', addressOf(place));
          else index.delete(position);
          if (kind === 'set') model.set(position, String(place));
          else model.delete(position);
        }
      const sorted = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
      const after = positionOf(at);
      expect(found(index, undefined)).toEqual(sorted);
      expect(found(index, after)).toEqual(sorted.filter(([position]) => position > after));
      expect(index.has(after)).toBe(model.has(after));
    }),
    { numRuns: 60 },
  );
});
