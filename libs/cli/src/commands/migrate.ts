/**
 * `kvent migrate`: counts the values of each schema version, by the definitions in a module, and
 * with `--write` rewrites older ones.
 */
import { StateMigration } from '@kvent/key-value-storage/core';
import { storeOn } from '@kvent/key-value-storage/internal';
import type { StorageProvider } from '@kvent/key-value-storage/internal/rows';
import { chosenDatabases, type TenantOptions } from '../input/database.js';
import { exportedStates, statesWithRows, type ExportedState } from '../input/exported-states.js';
import { UsageError } from '../input/usage-error.js';
import { counted, headedTable, type Report } from '../output/report.js';
import { withStorage, type CommandContext, type StorageOptions } from './command.js';

interface Options extends StorageOptions, TenantOptions {
  readonly storage: string;
  readonly module: string;
  readonly state?: string;
  readonly write?: boolean;
  readonly rowsPerSecond?: number;
  readonly concurrency: number;
}

interface Item {
  readonly database: string;
  readonly state: string;
  readonly schemaVersion: number;
  readonly values: number;
  /** Whether the definition has a later version. */
  readonly isOlder: boolean;
}

export async function migrate(options: Options, context: CommandContext): Promise<Report> {
  const { module, state: only, write = false } = options;
  const states = (await exportedStates(module)).filter(({ name }) => only === undefined || name === only);
  if (states.length === 0)
    throw new UsageError(`The module ${module} exports no state${only === undefined ? '' : ` '${only}'`}.`);
  return await withStorage(write ? 'existing' : 'source', options, context, async (provider) => {
    const { name, administration } = provider;
    const items: Item[] = [];
    let written = 0;
    for (const database of await chosenDatabases({ name, administration }, options)) {
      for (const state of statesWithRows(states, await administration.spaces(database))) {
        context.signal.throwIfAborted();
        if (write) written += await rewrite(provider, state, database, options, context);
        items.push(...(await countVersions(provider, state, database, context)));
      }
    }
    return reportOf(name, items, write ? written : undefined);
  });
}

async function rewrite(
  provider: StorageProvider,
  state: ExportedState,
  database: string,
  { rowsPerSecond, concurrency }: Options,
  { signal, progress }: CommandContext,
): Promise<number> {
  const what = `migrating ${state.name} in ${database}`;
  const migration = new StateMigration(storeOn(provider, state, database), {
    concurrency,
    ...(rowsPerSecond !== undefined && { rowsPerSecond }),
    onProgress: ({ read }) => progress.show({ what, rows: read, total: undefined }),
  });
  const { written } = await migration.run({ signal });
  return written;
}

async function countVersions(
  provider: StorageProvider,
  state: ExportedState,
  database: string,
  { signal }: CommandContext,
): Promise<readonly Item[]> {
  const versions = await new StateMigration(storeOn(provider, state, database)).versions({ signal });
  return versions.map(({ schemaVersion, entries }) => ({
    database,
    state: state.name,
    schemaVersion,
    values: entries,
    isOlder: schemaVersion < state.schemaVersion,
  }));
}

function reportOf(storage: string, items: readonly Item[], written: number | undefined): Report {
  const left = items.reduce((sum, { isOlder, values }) => sum + (isOlder ? values : 0), 0);
  const lines = [
    ...(written === undefined
      ? []
      : [`${storage}: ${counted(written, 'value was', 'values were')} rewritten.`]),
    `${storage}: ${counted(left, 'value has', 'values have')} an older schema version.`,
  ];
  return {
    json: {
      command: 'migrate',
      storage,
      items: items.map(({ isOlder: _, ...item }) => item),
      older: left,
      ...(written !== undefined && { written }),
    },
    text: [
      ...headedTable(
        ['database', 'state', 'schema version', 'values', ''],
        items.map(({ database, state, schemaVersion, values, isOlder }) => [
          database,
          state,
          schemaVersion,
          values,
          isOlder ? 'older' : '',
        ]),
      ),
      ...lines,
    ],
  };
}
