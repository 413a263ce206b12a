/** `kvent ls`: lists the states, counters and stream types of a storage, or the keys of one. */
import {
  decodeCursor,
  encodeCursor,
  type ScanRange,
  type StorageProvider,
} from '@kvent/key-value-storage/internal/rows';
import { chosenDatabase, chosenDatabases, type TenantOptions } from '../input/database.js';
import { keyJson, keyText, rangeFrom } from '../input/key.js';
import { fromArgument, UsageError } from '../input/usage-error.js';
import { dataLine, headedTable, timeText, type Report } from '../output/report.js';
import { valueJson } from '../output/stored-value.js';
import { withStorage, type CommandContext, type StorageOptions } from './command.js';
import { describeSpace, spaceOf } from './space-names.js';

interface Options extends StorageOptions, TenantOptions {
  readonly storage: string;
  readonly state?: string;
  readonly prefix?: string;
  readonly limit: number;
  readonly cursor?: string;
  readonly values?: boolean;
  readonly container?: string;
  readonly counter?: boolean;
}

export async function ls(options: Options, context: CommandContext): Promise<Report> {
  const { state, prefix, cursor, values } = options;
  if (state === undefined && (prefix !== undefined || cursor !== undefined || values === true))
    throw new UsageError('--prefix, --cursor and --values need the name of a state.');
  return await withStorage('source', options, context, async (provider) =>
    state === undefined
      ? await spacesOf(provider, options)
      : await keysOf(provider, { ...options, state }, context.signal),
  );
}

async function spacesOf({ name, administration }: StorageProvider, options: TenantOptions): Promise<Report> {
  const found: { readonly database: string; readonly kind: string; readonly name: string }[] = [];
  for (const database of await chosenDatabases({ name, administration }, options)) {
    const described = new Map(
      (await administration.spaces(database)).map(describeSpace).map((each) => [JSON.stringify(each), each]),
    );
    for (const space of described.values())
      if (space.kind === 'state' || space.kind === 'counter' || space.kind === 'head')
        found.push({ database, kind: space.kind === 'head' ? 'stream' : space.kind, name: space.name });
  }
  return {
    json: { command: 'ls', storage: name, items: found },
    text:
      found.length === 0
        ? [`${name} is empty.`]
        : headedTable(
            ['database', 'kind', 'name'],
            found.map((each) => [each.database, each.kind, each.name]),
          ),
  };
}

async function keysOf(
  provider: StorageProvider,
  { state, prefix, limit, cursor, values, ...options }: Options & { readonly state: string },
  signal: AbortSignal,
): Promise<Report> {
  const bounds = rangeFrom(prefix);
  const database = await chosenDatabase(provider, options);
  const scope = { database, ...spaceOf(state, options), ...bounds };
  const after =
    cursor === undefined ? undefined : fromArgument('--cursor', () => decodeCursor(scope, cursor));
  const range: ScanRange = {
    ...scope,
    limit,
    ...(after !== undefined && { after }),
    ...(values !== true && { values: 'omit' }),
  };
  const [page] = await provider.scan([range], { signal });
  const rows = page?.rows ?? [];
  const last = rows.at(-1);
  const next = page?.more === true && last !== undefined ? encodeCursor(scope, last.key) : null;
  return {
    json: {
      command: 'ls',
      storage: provider.name,
      database,
      state,
      items: rows.map(({ key, row }) => ({
        key: keyJson(key),
        etag: row.version,
        updatedAt: timeText(row.updatedAt),
        expiresAt: row.expiresAt === undefined ? null : timeText(row.expiresAt),
        ...(values === true && valueJson(row)),
      })),
      next,
    },
    text: [
      ...headedTable(
        ['key', 'etag', 'updated', 'expires', ...(values === true ? ['value'] : [])],
        rows.map(({ key, row }) => [
          keyText(key),
          row.version,
          timeText(row.updatedAt),
          timeText(row.expiresAt),
          ...(values === true ? [JSON.stringify(valueJson(row).value)] : []),
        ]),
      ),
      ...(rows.length === 0
        ? [
            `There is no such key in ${options.counter === true ? 'counter' : 'state'} '${state}' of '${database}'.`,
          ]
        : []),
      ...(next === null ? [] : [dataLine(`More keys follow: --cursor ${next}`)]),
    ],
  };
}
