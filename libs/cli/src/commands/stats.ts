/** `kvent stats`: counts rows and the bytes of their values. */
import type { RawRow } from '@kvent/key-value-storage/internal/rows';
import { chosenDatabases, type TenantOptions } from '../input/database.js';
import { counted, headedTable, type Report } from '../output/report.js';
import { withStorage, type CommandContext, type StorageOptions } from './command.js';
import { describeSpace, type SpaceName } from './space-names.js';

interface Options extends StorageOptions, TenantOptions {
  readonly storage: string;
}

interface Counted extends SpaceName {
  readonly database: string;
  rows: number;
  bytes: number;
}

const progressEvery = 1_000;

export async function stats(options: Options, context: CommandContext): Promise<Report> {
  return await withStorage('source', options, context, async ({ name, administration }) => {
    const items: Counted[] = [];
    for (const database of await chosenDatabases({ name, administration }, options))
      items.push(...(await countRows(database, administration.export(database), context)));
    const rows = items.reduce((sum, each) => sum + each.rows, 0);
    const bytes = items.reduce((sum, each) => sum + each.bytes, 0);
    return {
      json: { command: 'stats', storage: name, items, rows, bytes },
      text: [
        ...headedTable(
          ['database', 'kind', 'name', 'rows', 'bytes'],
          items.map((each) => [each.database, each.kind, each.name, each.rows, each.bytes]),
        ),
        `${name} holds ${counted(rows, 'row', 'rows')} with ${counted(bytes, 'byte', 'bytes')} of values.`,
      ],
    };
  });
}

async function countRows(
  database: string,
  rows: AsyncIterable<RawRow>,
  { progress }: CommandContext,
): Promise<readonly Counted[]> {
  const counts = new Map<string, Counted>();
  let seen = 0;
  for await (const raw of rows) {
    const { kind, name } = describeSpace(raw);
    const id = `${kind}\0${name}`;
    let count = counts.get(id);
    if (count === undefined) counts.set(id, (count = { database, kind, name, rows: 0, bytes: 0 }));
    count.rows += 1;
    count.bytes += bytesOf(raw);
    seen += 1;
    if (seen % progressEvery !== 0) continue;
    progress.show({ what: `counting ${database}`, rows: seen, total: undefined });
  }
  return [...counts.values()];
}

/** A number takes 8 bytes in memory and in Postgres. */
function bytesOf({ row: { value } }: RawRow): number {
  if (value.kind === 'json') return Buffer.byteLength(value.text);
  return value.kind === 'bytes' ? value.bytes.length : 8;
}
