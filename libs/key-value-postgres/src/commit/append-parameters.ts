/**
 * Batches that create rows behind one number, as the append to a stream does: as what `appendRows`
 * takes, and its answers as theirs.
 */
import type { Batch, Change, CommitResult, Expected } from '@kvent/key-value-storage/provider';
import { appendRows, appendToRow } from '../sql/append-rows.js';
import type { Columns } from '../sql/decode-row.js';
import { milliseconds, type Dialect } from '../sql/statement.js';
import { TextArray, texts } from '../sql/text-array.js';
import { ttlMsOf } from './change-parameters.js';
import { addressColumns, orNone } from './columns.js';
import type { Attempt } from './fast-path.js';
import { inRowOrder, rowOf, type Placed } from './row-order.js';

interface Head extends Placed {
  readonly expected: string;
  readonly number: string;
  readonly version: string;
}

interface Created extends Placed {
  readonly version: string;
  readonly text: string | null;
  readonly number: string | null;
  readonly ttlMs: number | null;
}

export interface AppendBatch extends Placed {
  /** Its place among the batches of the call. */
  readonly index: number;
  /** The number that has to be what was read, if there is one. */
  readonly head: Head | undefined;
  /**
   * Where nothing may be, in the order of the changes; the head stands at its own place among them.
   */
  readonly changes: readonly (Created | 'head')[];
}

type Put = Extract<Change, { kind: 'put' }>;

/**
 * The batch, when each of its rows is checked and put: all where nothing may be, but for one number
 * at most.
 */
export function appendBatchOf(
  { database, version, checks, changes }: Batch,
  index: number,
): AppendBatch | undefined {
  const [first] = changes;
  if (first === undefined || changes.length < 2 || checks.length !== changes.length) return undefined;
  const expected = new Map(checks.map((check) => [rowOf(check.address), check.expected]));
  let head: Head | undefined;
  const parts: (Created | 'head')[] = [];
  for (const change of changes) {
    const part =
      change.kind === 'put'
        ? partOf(database, version, change, expected.get(rowOf(change.address)))
        : undefined;
    if (part === undefined || ('expected' in part && head !== undefined)) return undefined;
    if ('expected' in part) head = part;
    parts.push('expected' in part ? 'head' : part);
  }
  return parts.length === 1
    ? undefined
    : { index, database, address: head?.address ?? first.address, head, changes: parts };
}

function partOf(
  database: string,
  version: string,
  { address, value, ttl }: Put,
  expected: Expected | undefined,
): Head | Created | undefined {
  if (value.kind === 'bytes' || typeof ttl === 'object') return undefined;
  if (expected === 'absent') {
    const [text, number] = value.kind === 'json' ? [value.text, null] : [null, value.number.toString()];
    return { database, address, version, text, number, ttlMs: ttlMsOf(ttl) };
  }
  if (typeof expected !== 'object' || !('number' in expected) || value.kind !== 'number' || ttl !== 'never')
    return undefined;
  return {
    database,
    address,
    version,
    expected: expected.number.toString(),
    number: value.number.toString(),
  };
}

export const appending = (dialect: Dialect): Attempt<AppendBatch> => ({
  alone: {
    suits: ({ head, changes }) => head !== undefined && areTexts(changes),
    statement: appendToRow(dialect),
    parameters: ({ database, head, changes }) => {
      const rows = inRowOrder(changes.filter((change) => change !== 'head'));
      const { container, entity } = (rows[0] as Created).address;
      return [
        ...[database, head?.address.container, head?.address.entity, head?.address.key],
        head?.expected,
        head?.number,
        head?.version,
        container,
        entity,
        new TextArray(rows.map(({ address }) => address.key)),
        new TextArray(rows.map(({ text }) => text)),
      ];
    },
    result: ([time], batch) => resultOf(batch, [null, time ?? null, time ?? null]),
  },
  many: appendRows(dialect),
  manyParameters: (batches) => {
    const heads = inRowOrder(
      batches.flatMap(({ head, index }) => (head === undefined ? [] : [{ ...head, b: index }])),
    );
    const rows = inRowOrder(batches.flatMap(createdBy));
    return [
      ...addressColumns(heads),
      heads.map(({ expected }) => expected),
      heads.map(({ number }) => number),
      heads.map(({ version }) => version),
      heads.map(({ b }) => b),
      ...addressColumns(rows),
      rows.map(({ version }) => version),
      texts(rows.map(({ text }) => text)),
      orNone(rows.map(({ number }) => number)),
      orNone(rows.map(({ ttlMs }) => ttlMs)),
      rows.map(({ b }) => b),
      rows.map(({ guarded }) => guarded),
    ];
  },
  manyResult: (line, batches) => {
    const batch = batches.find(({ index }) => index === Number(line[0]));
    return batch === undefined ? undefined : [batch, resultOf(batch, line)];
  },
});

/** Texts of one space that last: what a stream's events are. */
function areTexts(changes: AppendBatch['changes']): boolean {
  const rows = changes.filter((change) => change !== 'head');
  const [first] = rows;
  return rows.every(
    ({ address, text, ttlMs }) =>
      text !== null &&
      ttlMs === null &&
      address.entity === first?.address.entity &&
      address.container === first.address.container,
  );
}

const createdBy = ({
  changes,
  index,
  head,
}: AppendBatch): readonly (Created & { readonly b: number; readonly guarded: boolean })[] =>
  changes.flatMap((change) =>
    change === 'head' ? [] : [{ ...change, b: index, guarded: head !== undefined }],
  );

function resultOf({ changes, head }: AppendBatch, [, began, time]: Columns): CommitResult {
  const from = milliseconds(began as string);
  return {
    outcome: 'committed',
    time: milliseconds(time as string),
    rows: changes.map((change) => {
      if (change === 'head') return { existed: true, number: BigInt(head?.number ?? 0) };
      const { number, ttlMs } = change;
      return {
        existed: false,
        ...(number === null ? {} : { number: BigInt(number) }),
        ...(ttlMs === null ? {} : { expiresAt: from + ttlMs }),
      };
    }),
  };
}
