import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RowTable, withoutValue } from './row-table.js';
import type { Row } from '../port/storage-provider.js';

const row = (n: number, expiresAt?: number): Row => ({
  version: String(n + 1),
  value: { kind: 'json', text: String(n) },
  updatedAt: n,
  ...(expiresAt === undefined ? {} : { expiresAt }),
});
const address = (key: string, entity = 'e', container = 'c') => ({ container, entity, key });

test('holds what was set last, and sweeps those rows that have expired, the first to expire in front', () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd');
  const change = fc.record({
    key,
    entity: fc.constantFrom('x', 'y'),
    expiresAt: fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined }),
    gone: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 30 }),
      fc.integer({ min: 0, max: 11 }),
      fc.integer({ min: 1, max: 4 }),
      (changes, now, limit) => {
        const [table, model] = [new RowTable(), new Map<string, Row>()];
        for (const [n, { key: name, entity, expiresAt, gone }] of changes.entries()) {
          table.set(address(name, entity), gone ? undefined : row(n, expiresAt));
          if (gone) model.delete(`${entity} ${name}`);
          else model.set(`${entity} ${name}`, row(n, expiresAt));
        }
        expect(table.size).toBe(model.size);
        expect(Array.from(table.all(), (raw) => [`${raw.entity} ${raw.key}`, raw.row])).toEqual(
          [...model].sort(([a], [b]) => (a < b ? -1 : 1)),
        );
        const due = [...model]
          .filter(([, { expiresAt = Infinity }]) => expiresAt <= now)
          .sort(([, a], [, b]) => (a.expiresAt as number) - (b.expiresAt as number));
        const swept = table
          .sweep(limit, now)
          .map(({ entity, key: name }) => model.get(`${entity} ${name}`)?.expiresAt);
        expect(swept).toEqual(due.slice(0, limit).map(([, each]) => each.expiresAt));
        expect(table.sweep(100, now)).toHaveLength(Math.max(0, due.length - limit));
        expect(table.size).toBe(model.size - due.length);
      },
    ),
    { numRuns: 500 },
  );
});

test('a page leaves expired rows out, and says rightly whether more come', () => {
  const table = new RowTable();
  for (const [n, key] of ['a', 'b', 'c', 'd', 'e'].entries())
    table.set(address(key), row(n, key === 'b' || key === 'e' ? 5 : undefined));
  const scan = (range: object) => {
    const { rows, more } = table.scan({ container: 'c', entity: 'e', limit: 2, ...range }, 5);
    return [rows.map(({ key }) => key).join(''), more];
  };
  expect([
    scan({}),
    scan({ after: 'c' }),
    scan({ reverse: true }),
    scan({ reverse: true, after: 'c' }),
  ]).toEqual([
    ['ac', true],
    ['d', false],
    ['dc', true],
    ['a', false],
  ]);
  expect([scan({ start: 'b', end: 'd' }), scan({ entity: 'other' }), scan({ start: 'd' })]).toEqual([
    ['c', false],
    ['', false],
    ['d', false],
  ]);
});

test('a space is there as long as it holds a living row', () => {
  const table = new RowTable();
  table.set(address('k', 'b', 'two'), row(1));
  table.set(address('k', 'a', 'two'), row(1, 5));
  table.set(address('k', '', 'one'), row(1));
  const spaces = (now: number): readonly string[] =>
    table.spaces('db', now).map(({ container, entity }) => `${container}/${entity}`);
  expect([spaces(4), spaces(5)]).toEqual([
    ['one/', 'two/a', 'two/b'],
    ['one/', 'two/b'],
  ]);
  table.set(address('k', '', 'one'), undefined);
  table.set(address('none'), undefined);
  expect([spaces(5), table.size]).toEqual([['two/b'], 2]);
});

test('a row without its value keeps everything else', () => {
  expect(withoutValue(row(3, 9))).toEqual({ ...row(3, 9), value: { kind: 'omitted' } });
});
