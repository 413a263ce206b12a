/**
 * Batches that create rows behind one number that has to be what was read, as the append to a
 * stream does, or without such a number.
 */
import { rowNameOf } from '@kvent/key-value-storage/internal';
import type {
  Address,
  Batch,
  Change,
  ChangedRow,
  Check,
  CommitResult,
  Expected,
  RowAddress,
} from '@kvent/key-value-storage/provider';
import { appendRows, appendToRow, createTogether, type CreatedRows } from '../sql/append-statements.js';
import { addressColumns, sparse, sparseTexts, TextArray } from '../sql/array-parameters.js';
import { decodePosition, type Columns } from '../sql/decode-row.js';
import { milliseconds, type Dialect, type Statement } from '../sql/statement.js';
import { AdaptiveFastPath, type Attempt } from './fast-path.js';
import { ttlMsOf } from './general-plan.js';
import type { Plan, RowItem } from './plan.js';
import { inRowOrder } from './row-order.js';

/** The number that has to be `expected`, and becomes `number`. */
interface Head extends Address {
  readonly batch: Batch;
  readonly expected: string;
  readonly number: string;
}

interface CreatedRow extends Address {
  readonly batch: Batch;
  readonly text: string | null;
  readonly number: string | null;
  readonly ttlMs: number | null;
  readonly feed: boolean;
}

interface Append extends RowItem {
  readonly head: Head | undefined;
  readonly created: readonly CreatedRow[];
  /** In the order of the changes. */
  readonly rows: readonly (Head | CreatedRow)[];
}

export function appendPlan(dialect: Dialect, general: Plan): Plan<Append> {
  const append = appending(dialect);
  const fastPath = new AdaptiveFastPath({ present: append, absent: append });
  return {
    parse,
    fastPath: () => fastPath,
    request: (items, lockMs) => general.request(items, lockMs),
  };
}

/** Each row is checked and put: created, but for the head. */
function parse(batch: Batch): Append | undefined {
  const { checks, changes } = batch;
  if (changes.length < 2 || checks.length !== changes.length) return undefined;
  const expectedOf = expectations(checks);
  let head: Head | undefined;
  const created: CreatedRow[] = [];
  const rows: (Head | CreatedRow)[] = [];
  for (const [index, change] of changes.entries()) {
    const row = rowOf(batch, change, expectedOf(change.address, index));
    if (row === undefined || (isHead(row) && head !== undefined)) return undefined;
    if (isHead(row)) head = row;
    else created.push(row);
    rows.push(row);
  }
  const { database, container, entity, key } = head ?? (rows[0] as CreatedRow);
  return { batch, database, container, entity, key, head, created, rows, result: undefined };
}

/**
 * What the row at an address must be. The check of a change is mostly at the same index and has the
 * same address object; only otherwise it is looked up by its name, which takes 0.5 µs a row.
 */
function expectations(
  checks: readonly Check[],
): (address: RowAddress, index: number) => Expected | undefined {
  let byName: Map<string, Expected> | undefined;
  return (address, index) => {
    const check = checks[index];
    if (check?.address === address) return check.expected;
    byName ??= new Map(checks.map((each) => [rowNameOf(each.address), each.expected]));
    return byName.get(rowNameOf(address));
  };
}

function rowOf(batch: Batch, change: Change, expected: Expected | undefined): Head | CreatedRow | undefined {
  if (change.kind !== 'put' || change.value.kind === 'bytes' || typeof change.ttl === 'object')
    return undefined;
  const { value, ttl } = change;
  const { container, entity, key } = change.address;
  const { database } = batch;
  const text = value.kind === 'json' ? value.text : null;
  const number = value.kind === 'number' ? value.number.toString() : null;
  if (expected === 'absent')
    return {
      batch,
      database,
      container,
      entity,
      key,
      text,
      number,
      ttlMs: ttlMsOf(ttl),
      feed: change.feed === true,
    };
  return change.feed !== true &&
    typeof expected === 'object' &&
    'number' in expected &&
    number !== null &&
    ttl === 'never'
    ? { batch, database, container, entity, key, expected: expected.number.toString(), number }
    : undefined;
}

const isHead = (row: Head | CreatedRow): row is Head => 'expected' in row;

function appending(dialect: Dialect): Attempt<Append> {
  const [append, create] = [byCount(dialect, appendToRow), byCount(dialect, createTogether)];
  return {
    single: ({ database, container, entity, key, head, created, batch: { version } }) => {
      const rows = created.length > fewMax ? rowArrays(created) : rowParameters(created);
      return head === undefined
        ? { statement: create(created.length), parameters: [database, version, ...rows] }
        : {
            statement: append(created.length),
            parameters: [database, container, entity, key, head.expected, head.number, version, ...rows],
          };
    },
    statement: appendRows(dialect),
    parameters: (items) => {
      const numbers = new Map(items.map(({ batch }, index) => [batch, index + 1]));
      const unguarded = new Set(items.flatMap(({ head, batch }) => (head === undefined ? [batch] : [])));
      const heads = inRowOrder(items.flatMap(({ head }) => head ?? []));
      const rows = inRowOrder(items.flatMap(({ created }) => created));
      return [
        ...addressColumns(heads),
        heads.map(({ expected }) => expected),
        heads.map(({ number }) => number),
        heads.map(({ batch: { version } }) => version),
        heads.map(({ batch }) => numbers.get(batch)),
        ...addressColumns(rows),
        rows.map(({ batch: { version } }) => version),
        sparseTexts(rows.map(({ text }) => text)),
        sparse(rows.map(({ number }) => number)),
        sparse(rows.map(({ ttlMs }) => ttlMs)),
        rows.map(({ batch }) => numbers.get(batch)),
        rows.map(({ batch }) => !unguarded.has(batch)),
        rows.map(({ feed }) => feed),
      ];
    },
    result: resultOf,
  };
}

const fewMax = 4;

/** The statement for a count of created rows; each is made when it is first needed. */
function byCount(
  dialect: Dialect,
  make: (dialect: Dialect, rows: CreatedRows) => Statement,
): (count: number) => Statement {
  const made = new Map<CreatedRows, Statement>();
  return (count) => {
    const rows = count > fewMax ? 'many' : (count as CreatedRows);
    let statement = made.get(rows);
    if (statement === undefined) made.set(rows, (statement = make(dialect, rows)));
    return statement;
  };
}

const rowParameters = (created: readonly CreatedRow[]): readonly unknown[] =>
  inRowOrder(created).flatMap(({ container, entity, key, text, number, ttlMs, feed }) => [
    container,
    entity,
    key,
    text,
    number,
    ttlMs,
    feed,
  ]);

function rowArrays(created: readonly CreatedRow[]): readonly unknown[] {
  const rows = inRowOrder(created);
  return [
    new TextArray(rows.map(({ container }) => container)),
    new TextArray(rows.map(({ entity }) => entity)),
    new TextArray(rows.map(({ key }) => key)),
    sparseTexts(rows.map(({ text }) => text)),
    sparse(rows.map(({ number }) => number)),
    sparse(rows.map(({ ttlMs }) => ttlMs)),
    rows.map(({ feed }) => feed),
  ];
}

function resultOf(line: Columns, { rows }: Append): CommitResult {
  const [began, time] = line;
  const [transaction, sequence] = line.slice(-2);
  const from = milliseconds(began as string);
  return {
    outcome: 'committed',
    time: milliseconds(time as string),
    rows: rows.map((row) => changed(row, from)),
    ...(typeof sequence === 'string' && { position: decodePosition(`${transaction}.${sequence}`) }),
  };
}

function changed(row: Head | CreatedRow, from: number): ChangedRow {
  if (isHead(row)) return { existed: true, number: BigInt(row.number) };
  return {
    existed: false,
    ...(row.number !== null && { number: BigInt(row.number) }),
    ...(row.ttlMs !== null && { expiresAt: from + row.ttlMs }),
  };
}
