/** The table of the rows. Identifiers are quoted; everything else in a statement is a parameter. */
import { invalidOption } from '@kvent/key-value-storage/provider';

/** Postgres truncates longer identifiers silently. */
const identifierBytesMax = 63;

export interface TableOptions {
  /** The schema of the table. It is created when it is missing. @default 'kvent' */
  readonly schema?: string | undefined;
  /** The name of the table that holds the rows. @default 'row' */
  readonly table?: string | undefined;
}

export interface TableName {
  readonly schema: string;
  readonly table: string;
  /** Both, quoted: `"kvent"."row"`. */
  readonly quoted: string;
}

const tableDefaults = { schema: 'kvent', table: 'row' } as const;

/** The table of the migrations that have run, in the schema of the rows. */
export const journalTable = 'kvent_migrations';

/** `INVALID_OPTION` for a name that Postgres would change or refuse. */
export function tableName({
  schema = tableDefaults.schema,
  table = tableDefaults.table,
}: TableOptions): TableName {
  assertIdentifier('schema', schema);
  // its index and its primary key are named after it
  assertIdentifier('table', table, '_expires_at'.length);
  if (table === journalTable)
    throw invalidOption(
      `PostgresProvider: the table '${journalTable}' records the migrations that have run; rows need another table.`,
    );
  return { schema, table, quoted: `${quoted(schema)}.${quoted(table)}` };
}

/** What the feed of a table needs beside its columns. */
export const feedNames = ({ schema, table }: TableName) =>
  ({
    /**
     * A sequence whose value is what is added to the ids of transactions. Its `is_called` says that
     * stored events have no positions yet.
     */
    base: `${quoted(schema)}.${quoted(`${table}_feed_base`)}`,
    sequence: `${quoted(schema)}.${quoted(`${table}_feed_seq`)}`,
    index: quoted(`${table}_feed_order`),
  }) as const;

export const quoted = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`;

function assertIdentifier(option: string, given: unknown, room = 0): asserts given is string {
  const bytesMax = identifierBytesMax - room;
  if (
    typeof given === 'string' &&
    given !== '' &&
    !given.includes('\0') &&
    Buffer.byteLength(given) <= bytesMax
  )
    return;
  throw invalidOption(
    `PostgresProvider: ${option} must be a name of 1 to ${bytesMax} bytes without NUL; got ${typeof given === 'string' ? JSON.stringify(given) : typeof given}.`,
  );
}
