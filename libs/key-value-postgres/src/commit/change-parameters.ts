/**
 * Batches of any shape as the arrays of `changeRows`, one element for each row they touch, and its
 * answer as theirs.
 */
import type {
  Batch,
  Change,
  ChangedRow,
  Check,
  CommitResult,
  Expected,
  TimeToLive,
} from '@kvent/key-value-storage/provider';
import { actCode, checkCode } from '../sql/general-statement.js';
import type { Columns } from '../sql/decode-row.js';
import { milliseconds } from '../sql/statement.js';
import { texts } from '../sql/text-array.js';
import { addressColumns, orNone } from './columns.js';
import { inRowOrder, rowOf } from './row-order.js';

/**
 * A row within one batch: what is checked of it, what is done to it, and where these stand among
 * the checks and changes given.
 */
interface Element {
  readonly batch: number;
  readonly database: string;
  readonly address: Check['address'];
  readonly check?: Check | undefined;
  readonly checkIndex: number;
  readonly change?: Change | undefined;
  readonly changeIndex: number;
  /** A further check of a row that has an element already. */
  readonly again: boolean;
}

/** The elements of some batches, in the order of rows in which every process locks. */
export function elementsOf(batches: readonly Batch[]): readonly Element[] {
  return inRowOrder(batches.flatMap((batch, index) => elementsOfOne(batch, index)));
}

function elementsOfOne({ database, checks, changes }: Batch, batch: number): Element[] {
  const elements = new Map<string, Element>();
  for (const [changeIndex, change] of changes.entries()) {
    const { address } = change;
    elements.set(rowOf(address), {
      batch,
      database,
      address,
      checkIndex: -1,
      change,
      changeIndex,
      again: false,
    });
  }
  const further: Element[] = [];
  for (const [checkIndex, check] of checks.entries()) {
    const { address } = check;
    const there = elements.get(rowOf(address));
    if (there === undefined || there.check !== undefined)
      further.push({
        batch,
        database,
        address,
        check,
        checkIndex,
        changeIndex: -1,
        again: there !== undefined,
      });
    if (there?.check === undefined)
      elements.set(rowOf(address), { ...(there ?? (further.pop() as Element)), check, checkIndex });
  }
  return [...elements.values(), ...further];
}

/** The parameters of `changeRows`, behind the lock timeout. */
export function changeParameters(
  elements: readonly Element[],
  batches: readonly Batch[],
): readonly unknown[] {
  const column = <R>(of: (element: Element) => R | null) => orNone(elements.map(of));
  return [
    ...addressColumns(elements),
    column(({ batch }) => batch),
    column(({ check }) => (check === undefined ? null : checkCode[nameOf(check.expected)])),
    column(({ check }) => (check === undefined ? null : expectedOf(check.expected))),
    column(({ change, again }) =>
      change === undefined ? (again ? actCode.again : actCode.check) : actCode[change.kind],
    ),
    column(({ batch }) => batches[batch]?.version ?? null),
    texts(
      elements.map(({ change }) =>
        change?.kind === 'put' && change.value.kind === 'json' ? change.value.text : null,
      ),
    ),
    texts(
      elements.map(({ change }) =>
        change?.kind === 'put' && change.value.kind === 'bytes' ? base64Of(change.value.bytes) : null,
      ),
    ),
    column(({ change }) => (change === undefined ? null : numberOf(change))),
    column(({ change }) => (isNumeric(change) ? (change.floor?.toString() ?? null) : null)),
    column(({ change }) => (isNumeric(change) ? (change.ceiling?.toString() ?? null) : null)),
    column(({ change }) => (change === undefined ? null : ttlOf(change))),
    column(({ change }) => change?.kind === 'put' && typeof change.ttl === 'object'),
  ];
}

type Numeric = Extract<Change, { kind: 'sum' | 'min' | 'max' }>;

const isNumeric = (change: Change | undefined): change is Numeric =>
  change?.kind === 'sum' || change?.kind === 'min' || change?.kind === 'max';
export const nameOf = (expected: Expected): keyof typeof checkCode =>
  typeof expected === 'string' ? expected : 'version' in expected ? 'version' : 'number';
export const expectedOf = (expected: Expected): string | null =>
  typeof expected === 'string' ? null : 'version' in expected ? expected.version : expected.number.toString();
const base64Of = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

function numberOf(change: Change): string | null {
  if (isNumeric(change)) return change.operand.toString();
  return change.kind === 'put' && change.value.kind === 'number' ? change.value.number.toString() : null;
}

function ttlOf(change: Change): number | null {
  if (change.kind === 'delete') return null;
  return change.kind === 'put' ? ttlMsOf(change.ttl) : (change.ttlMs ?? null);
}

/**
 * Milliseconds, or null for ever. Where the expiry of a living row is kept, it counts for an absent
 * one.
 */
export function ttlMsOf(ttl: TimeToLive): number | null {
  if (typeof ttl === 'object') return ttlMsOf(ttl.keepElse);
  return ttl === 'never' ? null : ttl;
}

/** What `changeRows` says about one element. */
interface Verdict {
  readonly element: Element;
  readonly ok: boolean;
  readonly met: boolean;
  readonly misfit: 'range' | 'type' | undefined;
  readonly existed: boolean;
  readonly actual: string | undefined;
  readonly number: string | null;
  readonly expiresAt: number | undefined;
  readonly time: number;
}

/** The answers of the batches, from the lines of `changeRows`. */
export function changeResults(
  lines: readonly Columns[],
  elements: readonly Element[],
  batches: readonly Batch[],
): readonly CommitResult[] {
  const verdicts = batches.map((): Verdict[] => []);
  for (const line of lines) {
    const verdict = verdictOf(line, elements);
    verdicts[verdict.element.batch]?.push(verdict);
  }
  return verdicts.map(resultOf);
}

function verdictOf(
  [i, ok, met, misfit, live, actual, number, expires, time]: Columns,
  elements: readonly Element[],
): Verdict {
  return {
    element: elements[Number(i) - 1] as Element,
    ok: ok === 't',
    met: met === 't',
    misfit: misfit === '1' ? 'type' : misfit === '2' ? 'range' : undefined,
    existed: live === 't',
    actual: live === 't' ? (actual ?? undefined) : undefined,
    number: number ?? null,
    expiresAt: typeof expires === 'string' ? milliseconds(expires) : undefined,
    time: milliseconds(time as string),
  };
}

function resultOf(verdicts: readonly Verdict[]): CommitResult {
  const unmet = first(
    verdicts.filter(({ met }) => !met),
    ({ element }) => element.checkIndex,
  );
  if (unmet?.element.check !== undefined)
    return { outcome: 'conflict', ...unmet.element.check, actual: unmet.actual };
  const misfit = first(
    verdicts.filter((verdict) => verdict.misfit !== undefined),
    ({ element }) => element.changeIndex,
  );
  if (misfit?.misfit !== undefined)
    return { outcome: 'refused', address: misfit.element.address, reason: misfit.misfit };
  const rows: ChangedRow[] = [];
  for (const verdict of verdicts)
    if (verdict.element.change !== undefined)
      rows[verdict.element.changeIndex] = changedRow(verdict, verdict.element.change);
  return { outcome: 'committed', time: verdicts[0]?.time ?? Number.NaN, rows };
}

function first<T>(items: readonly T[], indexOf: (item: T) => number): T | undefined {
  return items.reduce<T | undefined>(
    (least, item) => (least === undefined || indexOf(item) < indexOf(least) ? item : least),
    undefined,
  );
}

function changedRow({ existed, number, expiresAt }: Verdict, change: Change): ChangedRow {
  if (change.kind === 'delete' || (change.kind === 'renew' && !existed)) return { existed };
  return {
    existed,
    ...(number === null ? {} : { number: BigInt(number) }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}
