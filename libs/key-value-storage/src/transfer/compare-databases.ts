/**
 * Compares a database on two sides, row by row: both are read in key order, so memory stays flat,
 * and the first difference is known. The sides have clocks of their own, and time passes during the
 * comparison: a row that is missing on one side is no difference if it has expired there.
 */
import { placeOf } from '../core/port/raw-row.js';
import { compareAddresses } from '../core/port/row-order.js';
import { CopiedRows, type CopySource } from './copy-source.js';
import { RowDigest, type RowsDigest } from './row-digest.js';
import type { RawRow, Row, RowAddress, Value } from '../core/port/storage-provider.js';

type Comparison =
  /** `leases`: how many leases the source contains; they are not compared. */
  | { readonly outcome: 'equal'; readonly digest: RowsDigest; readonly leases: number }
  /** `place`: the row that differs; `what`: how, without values. */
  | { readonly outcome: 'different'; readonly place: string; readonly what: string };

/** `onRow` is called for each row of the source; an exception in it ends the comparison. */
export async function compareDatabases(
  from: CopySource,
  to: CopySource,
  database: string,
  onRow: (raw: RawRow) => void,
): Promise<Comparison> {
  const source = new CopiedRows(from, database);
  await using ours = new Side(from, database, source);
  await using theirs = new Side(to, database, new CopiedRows(to, database));
  await Promise.all([ours.next(), theirs.next()]);
  const digest = new RowDigest();
  for (;;) {
    const [our, their] = [ours.row, theirs.row];
    const first = order(our, their);
    if (first === undefined) return { outcome: 'equal', digest: await digest.end(), leases: source.leases };
    if (our !== undefined && first <= 0) onRow(our);
    if (our !== undefined && their !== undefined && first === 0) {
      const difference = differenceOf(our.row, their.row);
      if (difference !== undefined) return different(database, our, `is different there: ${difference}`);
      await digest.add(their);
      await Promise.all([ours.next(), theirs.next()]);
    } else if (first < 0) {
      if (!(await theirs.mayLack(our as RawRow)))
        return different(database, our as RawRow, 'is missing there');
      await ours.next();
    } else {
      if (!(await ours.mayLack(their as RawRow)))
        return different(database, their as RawRow, 'is not in the source');
      await theirs.next();
    }
  }
}

/** One side, and its current row. */
class Side implements AsyncDisposable {
  row: RawRow | undefined;
  readonly #storage: CopySource;
  readonly #database: string;
  readonly #rows: AsyncIterator<RawRow, undefined>;

  constructor(storage: CopySource, database: string, rows: CopiedRows) {
    this.#storage = storage;
    this.#database = database;
    this.#rows = rows[Symbol.asyncIterator]();
  }

  async next(): Promise<void> {
    this.row = (await this.#rows.next()).value;
  }

  /** Whether a row of the other side may be missing here: it has expired. */
  async mayLack({ container, entity, key, row: { expiresAt } }: RawRow): Promise<boolean> {
    if (expiresAt === undefined) return false;
    const { time, rows } = await this.#storage.read([{ database: this.#database, container, entity, key }], {
      values: 'omit',
    });
    return rows[0] === undefined && expiresAt <= time;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rows.return?.();
  }
}

/** Below zero: `a` comes first; `undefined`: both sides have ended. */
function order(a: RowAddress | undefined, b: RowAddress | undefined): number | undefined {
  if (a === undefined || b === undefined) return a === b ? undefined : a === undefined ? 1 : -1;
  return compareAddresses(a, b);
}

function differenceOf(ours: Row, theirs: Row): string | undefined {
  for (const name of ['version', 'updatedAt', 'expiresAt', 'ttlMs'] as const)
    if (ours[name] !== theirs[name])
      return `its ${name} is ${String(theirs[name])} instead of ${String(ours[name])}`;
  if (ours.value.kind !== theirs.value.kind)
    return `the kind of its value is ${theirs.value.kind} instead of ${ours.value.kind}`;
  return areEqual(ours.value, theirs.value) ? undefined : 'its value';
}

/** Whether two values of one kind are equal. */
function areEqual(ours: Value, theirs: Value): boolean {
  if (ours.kind === 'json') return ours.text === (theirs as typeof ours).text;
  if (ours.kind === 'number') return ours.number === (theirs as typeof ours).number;
  if (ours.kind === 'omitted') return false;
  const { bytes } = theirs as typeof ours;
  return ours.bytes.length === bytes.length && ours.bytes.every((byte, index) => byte === bytes[index]);
}

const different = (database: string, raw: RawRow, what: string): Comparison => ({
  outcome: 'different',
  place: placeOf(database, raw),
  what,
});
