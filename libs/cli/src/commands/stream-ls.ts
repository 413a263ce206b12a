/** `kvent stream ls`: lists the stream types of a storage, or the streams of one type. */
import { headIn, streamContainers } from '@kvent/event-store/internal';
import {
  decodeCursor,
  encodeCursor,
  encodeText,
  type Row,
  type StorageProvider,
} from '@kvent/key-value-storage/internal/rows';
import { chosenDatabase, chosenDatabases, type TenantOptions } from '../input/database.js';
import { keyText, rangeFrom } from '../input/key.js';
import { fromArgument, UsageError } from '../input/usage-error.js';
import { dataLine, headedTable, timeText, type Report } from '../output/report.js';
import { withStorage, type CommandContext, type StorageOptions } from './command.js';
import { describeSpace } from './space-names.js';

interface Options extends StorageOptions, TenantOptions {
  readonly storage: string;
  readonly type?: string;
  readonly prefix?: string;
  readonly limit: number;
  readonly cursor?: string;
}

export async function streamLs(options: Options, context: CommandContext): Promise<Report> {
  const { type, prefix, cursor } = options;
  if (type === undefined && (prefix !== undefined || cursor !== undefined))
    throw new UsageError('--prefix and --cursor need a type of streams.');
  return await withStorage('source', options, context, async (provider) =>
    type === undefined
      ? await typesOf(provider, options)
      : await streamsOf(provider, { ...options, type }, context.signal),
  );
}

async function typesOf({ name, administration }: StorageProvider, options: TenantOptions): Promise<Report> {
  const items: { readonly database: string; readonly type: string }[] = [];
  for (const database of await chosenDatabases({ name, administration }, options))
    for (const space of await administration.spaces(database)) {
      const described = describeSpace(space);
      if (described.kind === 'head') items.push({ database, type: described.name });
    }
  return {
    json: { command: 'stream ls', storage: name, items },
    text:
      items.length === 0
        ? [`${name} has no streams.`]
        : headedTable(
            ['database', 'type'],
            items.map(({ database, type }) => [database, type]),
          ),
  };
}

async function streamsOf(
  provider: StorageProvider,
  { type, prefix, limit, cursor, ...options }: Options & { readonly type: string },
  signal: AbortSignal,
): Promise<Report> {
  const bounds = rangeFrom(prefix);
  const database = await chosenDatabase(provider, options);
  const scope = { database, container: streamContainers(encodeText(type)).head, entity: '', ...bounds };
  const after =
    cursor === undefined ? {} : { after: fromArgument('--cursor', () => decodeCursor(scope, cursor)) };
  const [page] = await provider.scan([{ ...scope, ...after, limit }], { signal });
  const rows = page?.rows ?? [];
  const items = rows.map(({ key, row }) => streamOf({ ...scope, key }, row));
  const last = rows.at(-1);
  const next = page?.more === true && last !== undefined ? encodeCursor(scope, last.key) : null;
  return {
    json: { command: 'stream ls', storage: provider.name, database, type, items, next },
    text: [
      ...headedTable(
        ['id', 'version', 'state', 'updated'],
        items.map(({ id, version, state, updatedAt }) => [id, version, state, updatedAt]),
      ),
      ...(items.length === 0 ? [`There is no such stream ${type} in '${database}'.`] : []),
      ...(next === null ? [] : [dataLine(`More streams follow: --cursor ${next}`)]),
    ],
  };
}

/**
 * `held`: by a session, or by one whose lease has expired and that no other writer has followed.
 */
function streamOf(address: Parameters<typeof headIn>[0], row: Row) {
  const { kind, version } = headIn(address, row);
  return { id: keyText(address.key), version, state: kind, updatedAt: timeText(row.updatedAt) };
}
