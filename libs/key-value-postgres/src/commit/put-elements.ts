/** Batches that each put one JSON value: as the arrays of `putRows`, and its answer as theirs; and the lone one that replaces a version. */
import type { Batch, Change, Check, CommitResult } from '@kvent/key-value-storage/core';
import { checkCode } from '../sql/change-rows.js';
import type { Columns } from '../sql/decode-row.js';
import { milliseconds } from '../sql/statement.js';
import { expectedOf, nameOf, ttlMsOf } from './change-elements.js';
import { byAddress } from './row-order.js';

type Put = Extract<Change, { kind: 'put' }>;

/** A batch of the hot shape. */
export interface PutBatch {
  /** Its place among the batches of the call. */
  readonly index: number;
  readonly database: string;
  readonly address: Put['address'];
  readonly version: string;
  readonly check: Check | undefined;
  readonly text: string;
  readonly ttl: Put['ttl'];
}

/** The batch, when it has the hot shape: one put of JSON, and no check but of that row, and not of a number. */
export function putBatchOf({ database, version, checks, changes }: Batch, index: number): PutBatch | undefined {
  const [change, ...more] = changes;
  const [check, ...others] = checks;
  if (change?.kind !== 'put' || change.value.kind !== 'json' || more.length > 0 || others.length > 0) return undefined;
  const { address } = change;
  if (check !== undefined) {
    if (check.address.key !== address.key || check.address.entity !== address.entity || check.address.container !== address.container)
      return undefined;
    if (nameOf(check.expected) === 'number') return undefined;
  }
  return { index, database, address, version, check, text: change.value.text, ttl: change.ttl };
}

/** The parameters of `putRows`, behind the lock timeout, for puts in the order of rows. */
export function putParameters(puts: readonly PutBatch[]): readonly unknown[] {
  return [
    puts.map(({ database }) => database),
    puts.map(({ address }) => address.container),
    puts.map(({ address }) => address.entity),
    puts.map(({ address }) => address.key),
    puts.map(({ check }) => (check === undefined ? null : checkCode[nameOf(check.expected)])),
    puts.map(({ check }) => (check === undefined ? null : expectedOf(check.expected))),
    puts.map(({ version }) => version),
    puts.map(({ text }) => text),
    puts.map(({ ttl }) => ttlMsOf(ttl)),
    puts.map(({ ttl }) => typeof ttl === 'object'),
  ];
}

export const inRowOrder = (puts: readonly PutBatch[]): readonly PutBatch[] => [...puts].sort(byAddress);

/** One answer for each line of `putRows`, with the place of its batch. */
export function putResults(lines: readonly Columns[], puts: readonly PutBatch[]): readonly (readonly [number, CommitResult])[] {
  return lines.map((line) => {
    const put = puts[Number(line[0]) - 1] as PutBatch;
    return [put.index, putResult(line, put)] as const;
  });
}

function putResult([, ok, live, actual, expires, time]: Columns, { check }: PutBatch): CommitResult {
  const existed = live === 't';
  if (ok !== 't' && check !== undefined) return { outcome: 'conflict', ...check, actual: existed ? (actual ?? undefined) : undefined };
  return committed(existed, expires, time);
}

/** Whether `replaceRow` can do it: a version is checked, and the expiry stays or goes. */
export function replaces({ check, ttl }: PutBatch): boolean {
  return check !== undefined && nameOf(check.expected) === 'version' && typeof ttl !== 'number';
}

/** The parameters of `replaceRow`. */
export function replaceParameters({ database, address, version, check, text, ttl }: PutBatch): readonly unknown[] {
  const { container, entity, key } = address;
  return [
    database,
    container,
    entity,
    key,
    check === undefined ? null : expectedOf(check.expected),
    typeof ttl === 'object',
    version,
    text,
  ];
}

/** The answer of `replaceRow`, if it did it. */
export function replaceResult([line]: readonly Columns[]): CommitResult | undefined {
  return line === undefined ? undefined : committed(true, line[1], line[0]);
}

function committed(existed: boolean, expires: string | null | undefined, time: string | null | undefined): CommitResult {
  return {
    outcome: 'committed',
    time: milliseconds(time as string),
    rows: [typeof expires === 'string' ? { existed, expiresAt: milliseconds(expires) } : { existed }],
  };
}
