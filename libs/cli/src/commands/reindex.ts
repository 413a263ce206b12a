/** `kvent reindex`: builds the indexes of states again, by the definitions in a module. */
import { rebuildIndexes } from '@kvent/key-value-storage/internal';
import { tenantIn } from '@kvent/key-value-storage/internal/rows';
import { chosenDatabases, type TenantOptions } from '../input/database.js';
import { exportedStates, statesWithRows } from '../input/exported-states.js';
import { UsageError } from '../input/usage-error.js';
import { counted, dataLine, type Report } from '../output/report.js';
import { assertWrite, withStorage, type CommandContext, type StorageOptions } from './command.js';

interface Options extends StorageOptions, TenantOptions {
  readonly storage: string;
  readonly module: string;
  readonly write?: boolean;
}

export async function reindex(options: Options, context: CommandContext): Promise<Report> {
  assertWrite('reindex', options);
  const states = (await exportedStates(options.module)).filter(({ indexes }) => indexes !== undefined);
  if (states.length === 0)
    throw new UsageError(`The module ${options.module} exports no state with indexes.`);
  return await withStorage('existing', options, context, async (provider) => {
    const { name, administration } = provider;
    const items: { readonly database: string; readonly state: string; readonly index: string }[] = [];
    for (const database of await chosenDatabases({ name, administration }, options)) {
      for (const state of statesWithRows(states, await administration.spaces(database))) {
        context.signal.throwIfAborted();
        context.progress.note(`Building the indexes of ${state.name} in ${database} …`);
        for (const index of await rebuildIndexes(provider, state, database))
          items.push({ database, state: state.name, index });
      }
    }
    return {
      json: { command: 'reindex', storage: name, items },
      text: [
        ...items.map(({ database, state, index }) =>
          dataLine(`${tenantIn(database) ?? database}: ${state}.${index}`),
        ),
        `${name}: ${counted(items.length, 'index is', 'indexes are')} built again.`,
      ],
    };
  });
}
