/** Export and import of whole databases: rows as they are, with versions and absolute times. */
import {
  partsOfPosition,
  soundRows,
  type ExportPart,
  type FeedPosition,
  type RawRow,
  type ScanPage,
  type Space,
} from '@kvent/key-value-storage/provider';
import type { Session } from './connections/session.js';
import type { Reader } from './read/reader.js';
import { exportRows, importRows } from './sql/administration-statements.js';
import { sparse, TextArray } from './sql/array-parameters.js';
import { decodeRow } from './sql/decode-row.js';
import type { Dialect } from './sql/statement.js';

/** Rows and bytes of one statement at most. */
const pageRows = 1_000;
const pageBytesMax = 4 * 1_024 * 1_024;

/**
 * The live rows of a database in order, page by page, in the snapshot of the session if it has one.
 */
export async function* exportDatabase(
  session: Session,
  dialect: Dialect,
  database: string,
  time: () => readonly number[],
): AsyncGenerator<RawRow> {
  const statement = exportRows(dialect);
  let after: readonly (string | null)[] = ['', '', ''];
  for (let limit = 16; ; limit = Math.min(limit * 4, pageRows)) {
    const lines = await session.run(statement, [database, ...after, limit, ...time()], 'read');
    for (const line of lines) {
      const [container, entity, key] = line as readonly string[];
      yield {
        container: container as string,
        entity: entity as string,
        key: key as string,
        row: decodeRow(line, 3, 'include'),
      };
    }
    const last = lines.at(-1);
    if (last === undefined) return;
    after = last.slice(0, 3);
  }
}

/** The live rows of a part of a space, as above: one page is read ahead. */
export async function* exportSpace(reader: Reader, part: Space & ExportPart): AsyncGenerator<RawRow> {
  const { container, entity } = part;
  let next: Promise<ScanPage> | undefined = reader.scan({ ...part, limit: pageRows });
  try {
    while (next !== undefined) {
      const { rows, more }: ScanPage = await next;
      const after: string | undefined = rows.at(-1)?.key;
      next = more && after !== undefined ? reader.scan({ ...part, after, limit: pageRows }) : undefined;
      // thrown when the page is needed
      next?.catch(() => undefined);
      for (const { key, row } of rows) yield { container, entity, key, row };
    }
  } finally {
    // the snapshot ends after its last statement
    await next?.catch(() => undefined);
  }
}

/** Puts rows as they are, page by page; returns how many. */
export async function importDatabase(
  session: Session,
  dialect: Dialect,
  database: string,
  rows: AsyncIterable<RawRow> | Iterable<RawRow>,
): Promise<number> {
  const statement = importRows(dialect);
  let count = 0;
  let bytes = 0;
  /** By address: one statement cannot write a row twice, and the last one counts. */
  const page = new Map<string, RawRow>();
  const flush = async (): Promise<void> => {
    if (page.size > 0) await session.run(statement, [database, ...arraysOf([...page.values()])], 'write');
    page.clear();
    bytes = 0;
  };
  for await (const raw of soundRows(database, rows)) {
    page.set(`${raw.container}\0${raw.entity}\0${raw.key}`, raw);
    count += 1;
    bytes += sizeOf(raw);
    if (page.size >= pageRows || bytes >= pageBytesMax) await flush();
  }
  await flush();
  return count;
}

function arraysOf(rows: readonly RawRow[]): readonly unknown[] {
  const column = <R>(of: (raw: RawRow) => R): R[] => rows.map(of);
  return [
    new TextArray(column(({ container }) => container)),
    new TextArray(column(({ entity }) => entity)),
    new TextArray(column(({ key }) => key)),
    column(({ row }) => row.version),
    column(({ row }) => row.updatedAt),
    column(({ row }) => row.expiresAt ?? null),
    column(({ row }) => row.ttlMs ?? null),
    column(({ row }) => (row.value.kind === 'number' ? row.value.number.toString() : null)),
    new TextArray(column(({ row }) => (row.value.kind === 'json' ? row.value.text : null))),
    new TextArray(
      column(({ row }) =>
        row.value.kind === 'bytes' ? Buffer.from(row.value.bytes).toString('base64') : null,
      ),
    ),
    sparse(column(({ row }) => numberIn(row.position, 0))),
    sparse(column(({ row }) => numberIn(row.position, 1))),
  ];
}

/** The transaction (0) or the sequence (1) of a position. */
const numberIn = (position: FeedPosition | undefined, part: 0 | 1): string | null =>
  position === undefined ? null : partsOfPosition(position)[part].toString();

const sizeOf = ({ row: { value } }: RawRow): number =>
  value.kind === 'json' ? value.text.length : value.kind === 'bytes' ? value.bytes.length : 8;
