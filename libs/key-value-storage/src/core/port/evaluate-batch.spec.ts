import { describe, expect, test } from '@jest/globals';
import { describeExpected, evaluateBatch, isLive } from './evaluate-batch.js';
import type { Batch, Change, Check, Row, RowAddress } from './storage-provider.js';

const at = (key: string): RowAddress => ({ container: 'c', entity: 'e', key });
const text = (value: string, more: Partial<Row> = {}): Row => ({
  version: '7',
  value: { kind: 'json', text: value },
  updatedAt: 50,
  ...more,
});
const batch = (changes: readonly Change[], checks: readonly Check[] = []): Batch => ({
  database: 'd',
  version: '9',
  checks,
  changes,
});
const evaluate = (rows: Readonly<Record<string, Row>>, it: Batch, now = 100) =>
  evaluateBatch(it, ({ key }) => rows[key], now);

describe('a batch', () => {
  test('that is judged leaves the rows it was judged by alone', () => {
    const rows = { a: Object.freeze(text('1', { expiresAt: 200, ttlMs: 5 })) };
    const { effects } = evaluate(
      rows,
      batch([
        { kind: 'put', address: at('a'), value: { kind: 'json', text: '2' }, ttl: { keepElse: 'never' } },
      ]),
    );
    expect(effects).toEqual([
      {
        address: at('a'),
        row: { version: '9', value: { kind: 'json', text: '2' }, updatedAt: 100, expiresAt: 200, ttlMs: 5 },
      },
    ]);
  });

  test('looks up a row once that it checks and changes in the same place, and all others too', () => {
    const [a, b, c] = [at('a'), at('b'), at('c')];
    const put = (address: RowAddress): Change => ({
      kind: 'put',
      address,
      value: { kind: 'json', text: '2' },
      ttl: 'never',
    });
    const looked: string[] = [];
    const rows: Readonly<Record<string, Row>> = { a: text('1', { updatedAt: 300 }), c: text('1') };
    const { result, effects } = evaluateBatch(
      batch(
        [put(a), put(c), put(b)],
        [
          { address: a, expected: 'present' },
          { address: b, expected: 'absent' },
        ],
      ),
      ({ key }) => {
        looked.push(key);
        return rows[key];
      },
      100,
    );
    expect(looked).toEqual(['a', 'b', 'c', 'b']);
    // the time is that of the row that was looked up by its check
    expect(result).toEqual({
      outcome: 'committed',
      time: 300,
      rows: [{ existed: true }, { existed: true }, { existed: false }],
    });
    expect(effects.map(({ address }) => address)).toEqual([a, c, b]);
  });

  test('has no effect where it conflicts or is refused, and none for what stays as it is', () => {
    const put: Change = { kind: 'put', address: at('b'), value: { kind: 'json', text: '1' }, ttl: 'never' };
    expect(evaluate({}, batch([put], [{ address: at('a'), expected: 'present' }])).effects).toEqual([]);
    expect(
      evaluate({ a: text('1') }, batch([put, { kind: 'sum', address: at('a'), operand: 1n }])),
    ).toMatchObject({
      result: { outcome: 'refused', reason: 'type' },
      effects: [],
    });
    expect(
      evaluate({ a: text('1') }, batch([{ kind: 'renew', address: at('a'), ttlMs: 5 }])).effects,
    ).toEqual([]);
    expect(evaluate({}, batch([{ kind: 'delete', address: at('a') }])).effects).toEqual([]);
  });

  test('clears an expired row away when it deletes it, and answers that nothing was there', () => {
    const { result, effects } = evaluate(
      { a: text('1', { expiresAt: 100 }) },
      batch([{ kind: 'delete', address: at('a') }]),
    );
    expect([result, effects]).toEqual([
      { outcome: 'committed', time: 100, rows: [{ existed: false }] },
      [{ address: at('a'), row: undefined }],
    ]);
  });

  test('has one time, not before any row it replaces; its expiries count from now', () => {
    const puts = ['a', 'b'].map((key): Change => ({
      kind: 'put',
      address: at(key),
      value: { kind: 'json', text: '1' },
      ttl: 10,
    }));
    const { result, effects } = evaluate({ b: text('1', { updatedAt: 5_000 }) }, batch(puts));
    expect(result).toMatchObject({ time: 5_000 });
    expect(effects.map(({ row }) => [row?.updatedAt, row?.expiresAt])).toEqual([
      [5_000, 110],
      [5_000, 110],
    ]);
  });

  test('takes the rows that are only checked for nothing of its time', () => {
    const { result } = evaluate(
      { a: text('1', { updatedAt: 5_000 }) },
      batch([], [{ address: at('a'), expected: 'present' }]),
    );
    expect(result).toMatchObject({ outcome: 'committed', time: 100 });
  });
});

test('a row is alive until, and not at, its expiry', () => {
  expect([
    isLive(undefined, 1),
    isLive(text('1'), 1e15),
    isLive(text('1', { expiresAt: 5 }), 4),
    isLive(text('1', { expiresAt: 5 }), 5),
  ]).toEqual([false, true, true, false]);
});

test('what was expected has words', () => {
  expect(
    ['absent', 'present', { version: '5' }, { number: 3n }].map((it) =>
      describeExpected(it as Check['expected']),
    ),
  ).toEqual(['absent', 'present', '5', 'the number 3']);
});
