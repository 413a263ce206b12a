/** Batches that write one row: a JSON value, checked or not, or a sum without a check. */
import { rowNameOf } from '@kvent/key-value-storage/internal';
import type { Batch, Change } from '@kvent/key-value-storage/provider';
import { addressColumns, sparse, sparseTexts } from '../sql/array-parameters.js';
import {
  addToRow,
  addToRows,
  createRow,
  createRows,
  overwriteRow,
  overwriteRows,
} from '../sql/fast-path-statements.js';
import { putRows } from '../sql/put-statement.js';
import type { Dialect, Statement } from '../sql/statement.js';
import { AdaptiveFastPath, type Attempt } from './fast-path.js';
import { checkCodeOf, otherRowOf, ttlMsOf } from './general-plan.js';
import { committedRow, type Plan, type Request, type RowItem } from './plan.js';
import { inRowOrder } from './row-order.js';

interface RowWrite extends RowItem {
  readonly version: string;
  /** Of a value. */
  readonly text: string | null;
  readonly expectedVersion: string | null;
  /** Of a sum: what is added, and its bounds. */
  readonly operand: string | null;
  readonly floor: string | null;
  readonly ceiling: string | null;
  /** Null: it does not expire. Where the expiry of a row is kept, it counts for a new row. */
  readonly ttlMs: number | null;
  readonly keepsExpiry: boolean;
}

export function rowPlan(dialect: Dialect, general: Plan): Plan<RowWrite> {
  const [overwrite, add, create] = [overwriting(dialect), adding(dialect), creating(dialect)];
  const put = putRows(dialect);
  const sets = new AdaptiveFastPath({ present: overwrite, absent: create });
  const saves = new AdaptiveFastPath({ present: overwrite });
  const creates = new AdaptiveFastPath({ absent: create });
  const sums = new AdaptiveFastPath({
    present: add,
    absent: { ...create, appliesTo: ({ floor, ceiling }) => floor === null && ceiling === null },
  });
  return {
    parse,
    fastPath: ({ operand, batch: { checks } }) => {
      if (operand !== null) return sums;
      const [check] = checks;
      if (check === undefined) return sets;
      return check.expected === 'absent' ? creates : saves;
    },
    // items with one fast path are all values, or all sums
    request: (items, lockMs) =>
      items[0]?.text === null ? general.request(items, lockMs) : requestForValues(put, items, lockMs),
  };
}

function parse(batch: Batch): RowWrite | undefined {
  const [change] = batch.changes;
  const [check] = batch.checks;
  if (change === undefined || batch.changes.length > 1 || batch.checks.length > 1) return undefined;
  if (change.kind === 'sum') return check === undefined ? parseSum(batch, change) : undefined;
  if (change.kind !== 'put' || change.value.kind !== 'json' || change.feed === true) return undefined;
  const expected = check?.expected;
  if (check !== undefined && rowNameOf(check.address) !== rowNameOf(change.address)) return undefined;
  if (typeof expected === 'object' && 'number' in expected) return undefined;
  const { address, ttl } = change;
  if (otherRowOf(ttl) !== undefined) return undefined;
  // one literal without a spread, which V8 would turn into a slow object
  return {
    batch,
    database: batch.database,
    container: address.container,
    entity: address.entity,
    key: address.key,
    version: batch.version,
    text: change.value.text,
    expectedVersion: typeof expected === 'object' ? expected.version : null,
    operand: null,
    floor: null,
    ceiling: null,
    ttlMs: ttlMsOf(ttl),
    keepsExpiry: typeof ttl === 'object',
    result: undefined,
  };
}

const parseSum = (
  batch: Batch,
  { address, operand, floor, ceiling, ttlMs }: Extract<Change, { kind: 'sum' | 'min' | 'max' }>,
): RowWrite => ({
  batch,
  database: batch.database,
  container: address.container,
  entity: address.entity,
  key: address.key,
  version: batch.version,
  text: null,
  expectedVersion: null,
  operand: operand.toString(),
  floor: floor?.toString() ?? null,
  ceiling: ceiling?.toString() ?? null,
  ttlMs: ttlMs ?? null,
  keepsExpiry: true,
  result: undefined,
});

function requestForValues(statement: Statement, values: readonly RowWrite[], lockMs: number | null): Request {
  const items = inRowOrder(values);
  const checks = items.map(({ batch }) => batch.checks[0]);
  return {
    statement,
    parameters: [
      lockMs?.toString() ?? null,
      ...addressColumns(items),
      sparse(checks.map((check) => (check === undefined ? null : checkCodeOf(check.expected)))),
      sparse(items.map(({ expectedVersion }) => expectedVersion)),
      ...valueColumns(items),
    ],
    accept: (lines) => {
      for (const [i, ok, live, actual, expires, time] of lines) {
        const item = items[Number(i) - 1];
        if (item === undefined) continue;
        const [check] = item.batch.checks;
        const existed = live === 't';
        item.result =
          ok === 't' || check === undefined
            ? committedRow(existed, time, expires, null)
            : { outcome: 'conflict', ...check, actual: existed ? (actual ?? undefined) : undefined };
      }
    },
  };
}

/** Version, text, time to live, and whether an expiry is kept. */
const valueColumns = (items: readonly RowWrite[]): readonly unknown[] => [
  items.map(({ version }) => version),
  sparseTexts(items.map(({ text }) => text)),
  sparse(items.map(({ ttlMs }) => ttlMs)),
  items.map(({ keepsExpiry }) => keepsExpiry),
];

/** A value over a row that is there, at the expected version if there is one. */
function overwriting(dialect: Dialect): Attempt<RowWrite> {
  const statement = overwriteRow(dialect);
  return {
    single: ({ database, container, entity, key, expectedVersion, keepsExpiry, ttlMs, version, text }) =>
      keepsExpiry || ttlMs === null
        ? {
            statement,
            parameters: [database, container, entity, key, expectedVersion, keepsExpiry, version, text],
          }
        : undefined,
    statement: overwriteRows(dialect),
    parameters: (items) => [
      ...addressColumns(items),
      sparse(items.map(({ expectedVersion }) => expectedVersion)),
      ...valueColumns(items),
    ],
    result: ([time, expires]) => committedRow(true, time, expires, null),
  };
}

/** A sum to a number that is there. */
function adding(dialect: Dialect): Attempt<RowWrite> {
  const statement = addToRow(dialect);
  return {
    single: ({ database, container, entity, key, operand, floor, ceiling, version }) => ({
      statement,
      parameters: [database, container, entity, key, operand, floor, ceiling, version],
    }),
    statement: addToRows(dialect),
    parameters: (items) => [
      ...addressColumns(items),
      items.map(({ operand }) => operand),
      sparse(items.map(({ floor }) => floor)),
      sparse(items.map(({ ceiling }) => ceiling)),
      items.map(({ version }) => version),
    ],
    result: ([number, time, expires]) => committedRow(true, time, expires, number),
  };
}

/** A row where none is: a value, or a number, as an absent one counts as 0. */
function creating(dialect: Dialect): Attempt<RowWrite> {
  const statement = createRow(dialect);
  return {
    single: ({ database, container, entity, key, version, ttlMs, text, operand }) => ({
      statement,
      parameters: [database, container, entity, key, version, ttlMs, text, operand],
    }),
    statement: createRows(dialect),
    parameters: (items) => [
      ...addressColumns(items),
      items.map(({ version }) => version),
      sparse(items.map(({ ttlMs }) => ttlMs)),
      sparseTexts(items.map(({ text }) => text)),
      sparse(items.map(({ operand }) => operand)),
    ],
    // an insert returns nothing but what it wrote
    itemOf: (written, items) => items.find(({ version }) => version === written),
    distinguishable: (items) => new Set(items.map(({ version }) => version)).size === items.length,
    result: ([time, expires], { operand }) => committedRow(false, time, expires, operand),
  };
}
