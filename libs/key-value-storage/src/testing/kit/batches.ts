/** Values, changes and checks of a batch in a short form. */
import type { Change, Check, Expected, RowAddress, StoredValue, TimeToLive } from '../../provider.js';

export const json = (text: string): StoredValue => ({ kind: 'json', text });
export const number = (value: bigint | number): StoredValue => ({ kind: 'number', number: BigInt(value) });
export const bytes = (...values: number[]): StoredValue => ({
  kind: 'bytes',
  bytes: Uint8Array.from(values),
});

export const rowAddress = ({ container, entity, key }: RowAddress): RowAddress => ({
  container,
  entity,
  key,
});

export const put = (address: RowAddress, value: string | StoredValue, ttl: TimeToLive = 'never'): Change => ({
  kind: 'put',
  address: rowAddress(address),
  value: typeof value === 'string' ? json(value) : value,
  ttl,
});

export const remove = (address: RowAddress): Change => ({ kind: 'delete', address: rowAddress(address) });

export const renew = (address: RowAddress, ttlMs: number): Change => ({
  kind: 'renew',
  address: rowAddress(address),
  ttlMs,
});

type NumericOptions = { readonly floor?: bigint; readonly ceiling?: bigint; readonly ttlMs?: number };
const numeric =
  (kind: 'sum' | 'min' | 'max') =>
  (address: RowAddress, operand: bigint | number, options: NumericOptions = {}): Change => ({
    kind,
    address: rowAddress(address),
    operand: BigInt(operand),
    ...options,
  });
export const sum = numeric('sum');
export const min = numeric('min');
export const max = numeric('max');

/** A check: a version, a word, or a number that the row must be. */
export const check = (address: RowAddress, expected: string | bigint): Check => ({
  address: rowAddress(address),
  expected: expectedOf(expected),
});

function expectedOf(expected: string | bigint): Expected {
  if (typeof expected === 'bigint') return { number: expected };
  return expected === 'absent' || expected === 'present' ? expected : { version: expected };
}
