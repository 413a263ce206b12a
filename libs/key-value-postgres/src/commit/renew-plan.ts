/** Batches that renew one row and do not wait for it. */
import { rowNameOf } from '@kvent/key-value-storage/internal';
import type { Batch, CommitResult } from '@kvent/key-value-storage/provider';
import { unavailable } from '../connections/failure.js';
import { addressColumns } from '../sql/array-parameters.js';
import type { Columns } from '../sql/decode-row.js';
import { renewRows } from '../sql/renew-statement.js';
import { milliseconds, type Dialect } from '../sql/statement.js';
import type { Plan, RowItem } from './plan.js';
import { inRowOrder } from './row-order.js';

interface Renewal extends RowItem {
  readonly expectedVersion: string;
  readonly ttlMs: number;
}

/** `name`: of the provider, in messages. */
export function renewPlan(dialect: Dialect, name: string): Plan<Renewal> {
  const statement = renewRows(dialect);
  return {
    parse,
    request: (items) => {
      const renewals = inRowOrder(items);
      return {
        statement,
        parameters: [
          ...addressColumns(renewals),
          renewals.map(({ expectedVersion }) => expectedVersion),
          renewals.map(({ ttlMs }) => ttlMs),
        ],
        accept: (lines) => {
          const renewed = new Map(lines.map((line) => [Number(line[0]), line]));
          for (const [index, item] of renewals.entries())
            item.result = resultOf(renewed.get(index + 1), name);
        },
      };
    },
  };
}

function parse(batch: Batch): Renewal | undefined {
  const { database, checks, changes, noWait } = batch;
  const [change] = changes;
  const [check] = checks;
  if (noWait !== true || change?.kind !== 'renew' || check === undefined) return undefined;
  if (changes.length > 1 || checks.length > 1) return undefined;
  const { address, ttlMs } = change;
  const { expected } = check;
  if (typeof expected !== 'object' || !('version' in expected)) return undefined;
  if (rowNameOf(check.address) !== rowNameOf(address)) return undefined;
  const { container, entity, key } = address;
  const row = { batch, database, container, entity, key };
  return { ...row, expectedVersion: expected.version, ttlMs, result: undefined };
}

function resultOf(line: Columns | undefined, name: string): CommitResult {
  if (line === undefined)
    return {
      outcome: 'failed',
      error: unavailable(`${name}: the row was not renewed; another session holds it or has changed it`),
    };
  return {
    outcome: 'committed',
    time: milliseconds(line[2] as string),
    rows: [{ existed: true, expiresAt: milliseconds(line[1] as string) }],
  };
}
