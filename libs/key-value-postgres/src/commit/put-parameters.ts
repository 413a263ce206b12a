/**
 * Batches that each put one JSON value: as what the statements take, and their answers as theirs.
 */
import type { Batch, Change, Check, CommitResult } from '@kvent/key-value-storage/provider';
import { checkCode } from '../sql/general-statement.js';
import type { Columns } from '../sql/decode-row.js';
import { overwriteRow, overwriteRows } from '../sql/fast-path-statements.js';
import { milliseconds, type Dialect } from '../sql/statement.js';
import { texts } from '../sql/text-array.js';
import { expectedOf, nameOf, ttlMsOf } from './change-parameters.js';
import { addressColumns, orNone } from './columns.js';
import { creating } from './create-parameters.js';
import type { Attempt } from './fast-path.js';

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

/**
 * The batch, when it has the hot shape: one put of JSON, and no check but of that row, and not of a
 * number.
 */
export function putBatchOf(
  { database, version, checks, changes }: Batch,
  index: number,
): PutBatch | undefined {
  const [change, ...more] = changes;
  const [check, ...others] = checks;
  if (change?.kind !== 'put' || change.value.kind !== 'json' || more.length > 0 || others.length > 0)
    return undefined;
  const { address } = change;
  if (check !== undefined) {
    if (
      check.address.key !== address.key ||
      check.address.entity !== address.entity ||
      check.address.container !== address.container
    )
      return undefined;
    if (nameOf(check.expected) === 'number') return undefined;
  }
  return { index, database, address, version, check, text: change.value.text, ttl: change.ttl };
}

/** The parameters of `putRows`, behind the lock timeout, for puts in the order of rows. */
export function putParameters(puts: readonly PutBatch[]): readonly unknown[] {
  return [
    ...addressColumns(puts),
    orNone(puts.map(({ check }) => (check === undefined ? null : checkCode[nameOf(check.expected)]))),
    orNone(puts.map(({ check }) => (check === undefined ? null : expectedOf(check.expected)))),
    puts.map(({ version }) => version),
    texts(puts.map(({ text }) => text)),
    orNone(puts.map(({ ttl }) => ttlMsOf(ttl))),
    puts.map(({ ttl }) => typeof ttl === 'object'),
  ];
}

/** The answers of `putRows`, each with its put. */
export function putResults(
  lines: readonly Columns[],
  puts: readonly PutBatch[],
): ReadonlyMap<PutBatch, CommitResult> {
  return new Map(
    lines.map((line) => {
      const put = puts[Number(line[0]) - 1] as PutBatch;
      return [put, putResult(line, put)];
    }),
  );
}

function putResult([, ok, live, actual, expires, time]: Columns, { check }: PutBatch): CommitResult {
  const existed = live === 't';
  if (ok !== 't' && check !== undefined)
    return { outcome: 'conflict', ...check, actual: existed ? (actual ?? undefined) : undefined };
  return committed(existed, expires, time);
}

/** A value over a row that is there, most likely at the version that is checked. */
export const overwriting = (dialect: Dialect): Attempt<PutBatch> => ({
  alone: {
    // its expiry stays or goes
    suits: ({ ttl }) => typeof ttl !== 'number',
    statement: overwriteRow(dialect),
    parameters: ({ database, address, version, check, text, ttl }) => [
      ...[database, address.container, address.entity, address.key],
      check === undefined ? null : expectedOf(check.expected),
      typeof ttl === 'object',
      version,
      text,
    ],
    result: ([time, expires]) => committed(true, expires, time),
  },
  many: overwriteRows(dialect),
  manyParameters: (puts) => [
    ...addressColumns(puts),
    orNone(puts.map(({ check }) => (check === undefined ? null : expectedOf(check.expected)))),
    puts.map(({ version }) => version),
    texts(puts.map(({ text }) => text)),
    orNone(puts.map(({ ttl }) => ttlMsOf(ttl))),
    puts.map(({ ttl }) => typeof ttl === 'object'),
  ],
  manyResult: ([i, time, expires], puts) => [puts[Number(i) - 1] as PutBatch, committed(true, expires, time)],
});

/** A value where nothing is. */
export const creatingValues = (dialect: Dialect): Attempt<PutBatch> =>
  creating(dialect, {
    row: ({ ttl, text }) => ({ ttlMs: ttlMsOf(ttl), text, number: null }),
    result: (time, expires) => committed(false, expires, time),
  });

function committed(
  existed: boolean,
  expires: string | null | undefined,
  time: string | null | undefined,
): CommitResult {
  return {
    outcome: 'committed',
    time: milliseconds(time as string),
    rows: [typeof expires === 'string' ? { existed, expiresAt: milliseconds(expires) } : { existed }],
  };
}
