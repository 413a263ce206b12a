/**
 * Batches that each add to one number: as what the statements take, and their answers as theirs.
 */
import type { Batch, CommitResult, RowAddress } from '@kvent/key-value-storage/provider';
import type { Columns } from '../sql/decode-row.js';
import { addToRow, addToRows } from '../sql/fast-path-statements.js';
import { milliseconds, type Dialect } from '../sql/statement.js';
import { addressColumns, orNone } from './columns.js';
import { creating } from './create-parameters.js';
import type { Attempt } from './fast-path.js';

export interface SumBatch {
  /** Its place among the batches of the call. */
  readonly index: number;
  readonly database: string;
  readonly address: RowAddress;
  readonly version: string;
  readonly operand: string;
  readonly floor: string | null;
  readonly ceiling: string | null;
  /** Of a number that is created. */
  readonly ttlMs: number | null;
}

/** The batch, when it is one sum without a check. */
export function sumBatchOf(
  { database, version, checks, changes }: Batch,
  index: number,
): SumBatch | undefined {
  const [change, ...more] = changes;
  if (change?.kind !== 'sum' || more.length > 0 || checks.length > 0) return undefined;
  const { address, operand, floor, ceiling, ttlMs } = change;
  return {
    index,
    database,
    address,
    version,
    operand: operand.toString(),
    floor: floor?.toString() ?? null,
    ceiling: ceiling?.toString() ?? null,
    ttlMs: ttlMs ?? null,
  };
}

/** A sum to a number that is there. */
export const adding = (dialect: Dialect): Attempt<SumBatch> => ({
  alone: {
    suits: () => true,
    statement: addToRow(dialect),
    parameters: ({ database, address, version, operand, floor, ceiling }) => [
      ...[database, address.container, address.entity, address.key],
      operand,
      floor,
      ceiling,
      version,
    ],
    result: added,
  },
  many: addToRows(dialect),
  manyParameters: (sums) => [
    ...addressColumns(sums),
    sums.map(({ operand }) => operand),
    orNone(sums.map(({ floor }) => floor)),
    orNone(sums.map(({ ceiling }) => ceiling)),
    sums.map(({ version }) => version),
  ],
  manyResult: ([i, ...line], sums) => [sums[Number(i) - 1] as SumBatch, added(line)],
});

/** A number where nothing is: an absent one counts as 0. */
export const creatingNumbers = (dialect: Dialect): Attempt<SumBatch> =>
  creating(dialect, {
    suits: ({ floor, ceiling }) => floor === null && ceiling === null,
    row: ({ operand, ttlMs }) => ({ ttlMs, text: null, number: operand }),
    result: (time, expires, { operand }) => committed(false, operand, time, expires),
  });

const added = ([number, time, expires]: Columns): CommitResult =>
  committed(true, number as string, time, expires);

function committed(
  existed: boolean,
  number: string,
  time: string | null | undefined,
  expires: string | null | undefined,
): CommitResult {
  const row = { existed, number: BigInt(number) };
  return {
    outcome: 'committed',
    time: milliseconds(time as string),
    rows: [typeof expires === 'string' ? { ...row, expiresAt: milliseconds(expires) } : row],
  };
}
