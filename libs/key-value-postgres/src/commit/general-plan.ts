/** Batches of any shape, as `changeRows` takes them: one operation for each row they touch. */
import { rowNameOf } from '@kvent/key-value-storage/internal';
import type {
  Address,
  Batch,
  Change,
  ChangedRow,
  Check,
  CommitResult,
  Expected,
  FeedPosition,
  RowAddress,
  TimeToLive,
} from '@kvent/key-value-storage/provider';
import { addressColumns, sparse, sparseTexts } from '../sql/array-parameters.js';
import { decodePosition, type Columns } from '../sql/decode-row.js';
import { actCode, changeRows, checkCode } from '../sql/general-statement.js';
import { readClock } from '../sql/read-statements.js';
import { milliseconds, type Dialect } from '../sql/statement.js';
import type { Item, Plan } from './plan.js';
import { inRowOrder } from './row-order.js';

/** What one batch does with one row, and where that stands among its checks and changes. */
interface RowOperation extends Address {
  /** The number of the batch. */
  readonly batch: number;
  readonly version: string;
  readonly change: Change | undefined;
  readonly changeIndex: number;
  check: Check | undefined;
  checkIndex: number;
  /** A further check of a row that has an operation already. */
  isRepeated: boolean;
}

export function generalPlan(dialect: Dialect): Plan {
  const [change, feedChange, clock] = [
    changeRows(dialect, 'no feed'),
    changeRows(dialect, 'feed'),
    readClock(dialect),
  ];
  return {
    parse: (batch) => ({ batch, result: undefined }),
    request: (items, lockMs) => {
      const operations = inRowOrder(items.flatMap(({ batch }, index) => operationsOf(batch, index)));
      if (operations.length === 0)
        return {
          statement: clock,
          parameters: [],
          purpose: 'read',
          accept: ([line]) => {
            const time = milliseconds(line?.[0] as string);
            for (const item of items) item.result = { outcome: 'committed', time, rows: [] };
          },
        };
      const flags = operations.map((operation) => isInFeed(operation.change));
      const inFeed = flags.includes(true);
      return {
        statement: inFeed ? feedChange : change,
        parameters: [lockMs?.toString() ?? null, ...parametersOf(operations), ...(inFeed ? [flags] : [])],
        accept: (lines) => setResults(items, operations, lines),
      };
    },
  };
}

function operationsOf(batch: Batch, index: number): readonly RowOperation[] {
  const operations = batch.changes.map((change, changeIndex) =>
    operationOf(batch, index, change.address, change, changeIndex),
  );
  if (batch.checks.length === 0) return operations;
  const byRow = new Map(operations.map((operation) => [rowNameOf(operation), operation]));
  for (const [checkIndex, check] of batch.checks.entries()) {
    const name = rowNameOf(check.address);
    let operation = byRow.get(name);
    if (operation?.check !== undefined || operation === undefined) {
      const isRepeated = operation !== undefined;
      operations.push((operation = operationOf(batch, index, check.address, undefined, -1)));
      operation.isRepeated = isRepeated;
      if (!isRepeated) byRow.set(name, operation);
    }
    operation.check = check;
    operation.checkIndex = checkIndex;
  }
  return operations;
}

const operationOf = (
  { database, version }: Batch,
  batch: number,
  { container, entity, key }: RowAddress,
  change: Change | undefined,
  changeIndex: number,
): RowOperation => ({
  batch,
  database,
  container,
  entity,
  key,
  version,
  change,
  changeIndex,
  check: undefined,
  checkIndex: -1,
  isRepeated: false,
});

/** The parameters of `changeRows` behind the lock timeout. */
function parametersOf(operations: readonly RowOperation[]): readonly unknown[] {
  const column = <R>(of: (operation: RowOperation) => R | null) => sparse(operations.map(of));
  const texts = (of: (change: Change | undefined) => string | null) =>
    sparseTexts(operations.map(({ change }) => of(change)));
  return [
    ...addressColumns(operations),
    column(({ batch }) => batch),
    column(({ check }) => (check === undefined ? null : checkCodeOf(check.expected))),
    column(({ check }) => (check === undefined ? null : expectedOf(check.expected))),
    column(({ change, isRepeated }) => actCode[change?.kind ?? (isRepeated ? 'repeated' : 'check')]),
    column(({ version }) => version),
    texts((change) => (change?.kind === 'put' && change.value.kind === 'json' ? change.value.text : null)),
    texts((change) =>
      change?.kind === 'put' && change.value.kind === 'bytes' ? base64Of(change.value.bytes) : null,
    ),
    column(({ change }) => numberOf(change)),
    column(({ change }) => (isNumeric(change) ? (change.floor?.toString() ?? null) : null)),
    column(({ change }) => (isNumeric(change) ? (change.ceiling?.toString() ?? null) : null)),
    column(({ change }) => ttlOf(change)),
    column(({ change }) => change?.kind === 'put' && typeof change.ttl === 'object'),
    sparse(keptPlaces(operations)),
  ];
}

/** The place, from 1, of the operation on the row whose expiry another row gets. */
function keptPlaces(operations: readonly RowOperation[]): readonly (number | null)[] {
  return operations.map(({ batch, change }) => {
    const of = change?.kind === 'put' ? otherRowOf(change.ttl) : undefined;
    if (of === undefined) return null;
    const name = rowNameOf(of);
    return 1 + operations.findIndex((each) => each.batch === batch && rowNameOf(each) === name);
  });
}

/** The row whose expiry is kept, if it is not the written one. */
export const otherRowOf = (ttl: TimeToLive): RowAddress | undefined =>
  typeof ttl === 'object' ? ttl.of : undefined;

export const isInFeed = (change: Change | undefined): boolean =>
  change?.kind === 'put' && change.feed === true;

type Numeric = Extract<Change, { kind: 'sum' | 'min' | 'max' }>;

const isNumeric = (change: Change | undefined): change is Numeric =>
  change?.kind === 'sum' || change?.kind === 'min' || change?.kind === 'max';
export const checkCodeOf = (expected: Expected): number =>
  checkCode[typeof expected === 'string' ? expected : 'version' in expected ? 'version' : 'number'];
const expectedOf = (expected: Expected): string | null =>
  typeof expected === 'string' ? null : 'version' in expected ? expected.version : expected.number.toString();
const base64Of = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

function numberOf(change: Change | undefined): string | null {
  if (isNumeric(change)) return change.operand.toString();
  return change?.kind === 'put' && change.value.kind === 'number' ? change.value.number.toString() : null;
}

function ttlOf(change: Change | undefined): number | null {
  if (change === undefined || change.kind === 'delete') return null;
  return change.kind === 'put' ? ttlMsOf(change.ttl) : (change.ttlMs ?? null);
}

/** Null: for ever. Where the expiry of a row is kept, this is that of a row that is created. */
export function ttlMsOf(ttl: TimeToLive): number | null {
  const ms = typeof ttl === 'object' ? ttl.keepElse : ttl;
  return ms === 'never' ? null : ms;
}

/** What `changeRows` returns for one operation. */
interface Verdict {
  readonly operation: RowOperation;
  readonly isMet: boolean;
  readonly misfit: 'range' | 'type' | undefined;
  readonly existed: boolean;
  readonly actual: string | undefined;
  readonly number: string | null | undefined;
  readonly expiresAt: number | undefined;
  readonly position: FeedPosition | undefined;
  readonly time: number;
}

function setResults(
  items: readonly Item[],
  operations: readonly RowOperation[],
  lines: readonly Columns[],
): void {
  const verdicts = items.map((): Verdict[] => []);
  for (const line of lines) {
    const verdict = verdictOf(line, operations);
    verdicts[verdict.operation.batch]?.push(verdict);
  }
  const time = milliseconds(lines[0]?.at(-2) as string);
  for (const [index, item] of items.entries()) item.result = resultOf(verdicts[index] as Verdict[], time);
}

function verdictOf(
  [i, met, misfit, live, actual, number, expires, place, time]: Columns,
  operations: readonly RowOperation[],
): Verdict {
  return {
    operation: operations[Number(i) - 1] as RowOperation,
    isMet: met === 't',
    misfit: misfit === '1' ? 'type' : misfit === '2' ? 'range' : undefined,
    existed: live === 't',
    actual: live === 't' ? (actual ?? undefined) : undefined,
    number,
    expiresAt: typeof expires === 'string' ? milliseconds(expires) : undefined,
    position: typeof place === 'string' ? decodePosition(place) : undefined,
    time: milliseconds(time as string),
  };
}

/** `time`: of a batch without operations. */
function resultOf(verdicts: readonly Verdict[], time: number): CommitResult {
  const unmet = first(verdicts, ({ isMet }) => !isMet, 'checkIndex');
  if (unmet?.operation.check !== undefined)
    return { outcome: 'conflict', ...unmet.operation.check, actual: unmet.actual };
  const misfit = first(verdicts, (verdict) => verdict.misfit !== undefined, 'changeIndex');
  if (misfit?.misfit !== undefined && misfit.operation.change !== undefined)
    return { outcome: 'refused', address: misfit.operation.change.address, reason: misfit.misfit };
  const rows: ChangedRow[] = [];
  let position: FeedPosition | undefined;
  for (const verdict of verdicts) {
    if (verdict.position !== undefined && (position === undefined || verdict.position > position))
      position = verdict.position;
    const { change, changeIndex } = verdict.operation;
    if (change !== undefined) rows[changeIndex] = changedRow(verdict, change);
  }
  return {
    outcome: 'committed',
    time: verdicts[0]?.time ?? time,
    rows,
    ...(position !== undefined && { position }),
  };
}

/** In the order of the checks, or of the changes, of the batch. */
function first(
  verdicts: readonly Verdict[],
  isSuch: (verdict: Verdict) => boolean,
  order: 'checkIndex' | 'changeIndex',
): Verdict | undefined {
  let found: Verdict | undefined;
  for (const verdict of verdicts)
    if (isSuch(verdict) && (found === undefined || verdict.operation[order] < found.operation[order]))
      found = verdict;
  return found;
}

function changedRow({ existed, number, expiresAt }: Verdict, change: Change): ChangedRow {
  if (change.kind === 'delete' || (change.kind === 'renew' && !existed)) return { existed };
  return {
    existed,
    ...(typeof number === 'string' && { number: BigInt(number) }),
    ...(expiresAt !== undefined && { expiresAt }),
  };
}
