/** `kvent import`: loads the entries of a file into a state. */
import { defineState, type KeyValueStore, type LoadItem } from '@kvent/key-value-storage/core';
import { rowsOf, statesIn, storeOn } from '@kvent/key-value-storage/internal';
import { untilAborted, UnindexedWriter, type StorageProvider } from '@kvent/key-value-storage/internal/rows';
import { assertCsvOptions, keyColumnDefault } from '../input/record-options.js';
import { targetDatabase, type TenantOptions } from '../input/database.js';
import { exportedStates, type ExportedState } from '../input/exported-states.js';
import { fromArgument, UsageError } from '../input/usage-error.js';
import { counted, type Report } from '../output/report.js';
import { ImportSource } from '../records/import-source.js';
import { openInput } from '../records/input-file.js';
import { CsvFormat, jsonLines } from '../records/record-format.js';
import { RefusedRecords } from '../records/refused-records.js';
import { assertWrite, withStorage, type CommandContext, type StorageOptions } from './command.js';

interface Options extends StorageOptions, TenantOptions {
  readonly storage: string;
  readonly state: string;
  readonly file?: string;
  readonly write?: boolean;
  readonly csv?: boolean;
  readonly key?: string;
  readonly jsonColumns?: readonly string[];
  readonly onError: 'stop' | 'continue';
  readonly failures?: string;
  readonly schemaVersion: number;
  readonly module?: string;
  readonly container?: string;
}

export async function importEntries(options: Options, context: CommandContext): Promise<Report> {
  assertWrite('import', options);
  assertCsvOptions(options);
  const { csv, key = keyColumnDefault, jsonColumns = [], onError, module } = options;
  const definition = module === undefined ? definitionOf(options) : await definitionIn(module, options);
  const isKnown = module !== undefined;
  const format = csv === true ? new CsvFormat({ key, json: jsonColumns }) : jsonLines(definition);
  await using input = await openInput(options.file);
  await using refused = await RefusedRecords.open(options.failures, context.clean);
  const source = new ImportSource(format, onError, refused);
  // a wrong header changes nothing
  const items = await begun(source.items(input.bytes), context.signal);
  return await withStorage('target', options, context, async (provider) => {
    const database = await targetDatabase(provider, options);
    const loaded = await load(provider, { definition, isKnown, database, items, source }, context);
    return reportOf(provider.name, database, options, { loaded, refused, expired: source.expired });
  });
}

/** The definition of the application is not known: only its name, its container and its version. */
function definitionOf({ state, container, schemaVersion }: Options): ExportedState {
  const named = fromArgument('The state', () => defineState(state, { ...(container && { container }) }));
  const [definition] = statesIn({ named });
  if (definition === undefined) throw new UsageError(`There can be no state '${state}'.`);
  return { ...definition, schemaVersion };
}

/** That of the application, by which values are checked and indexes are kept. */
async function definitionIn(module: string, { state, container }: Options): Promise<ExportedState> {
  const found = (await exportedStates(module)).find(
    (each) => each.name === state && (container === undefined || each.container === container),
  );
  if (found === undefined) throw new UsageError(`The module ${module} exports no state '${state}'.`);
  return found;
}

/** The same items, the first of which is read. */
async function begun(
  items: AsyncGenerator<LoadItem, undefined>,
  signal: AbortSignal,
): Promise<AsyncIterable<LoadItem>> {
  const first = await untilAborted('The import', 'none', signal, items.next());
  let next: typeof first | undefined = first;
  const iterator: AsyncIterator<LoadItem, undefined> = {
    next: async () => {
      const read = next ?? (await items.next());
      next = undefined;
      return read;
    },
    return: () => items.return(undefined),
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** Those that the state takes. Checked here, where the line is known, and not by the load alone. */
async function* valid(
  items: AsyncIterable<LoadItem>,
  store: KeyValueStore<unknown>,
  source: ImportSource,
): AsyncGenerator<LoadItem, void> {
  const rows = rowsOf(store);
  for await (const item of items) {
    try {
      rows.address(item.key);
      await rows.codec.encode(item.key, item.value);
    } catch (error) {
      source.refuseLast(error);
      continue;
    }
    yield item;
  }
}

/** The same items. Before each of them, the indexes are kept unready. */
async function* held(
  items: AsyncIterable<LoadItem>,
  writer: UnindexedWriter,
  signal: AbortSignal,
): AsyncGenerator<LoadItem, void> {
  for await (const item of items) {
    await writer.keep(signal);
    yield item;
  }
}

interface Load {
  readonly definition: ExportedState;
  /** Whether it is the definition of the application. */
  readonly isKnown: boolean;
  readonly database: string;
  readonly items: AsyncIterable<LoadItem>;
  readonly source: ImportSource;
}

/** Returns how many entries are stored. */
async function load(
  provider: StorageProvider,
  { definition, isKnown, database, items, source }: Load,
  { signal, progress }: CommandContext,
): Promise<number> {
  const space = { database, container: definition.container, entity: definition.entity };
  const what = `importing ${definition.name} into ${database}`;
  const store = storeOn(provider, definition, database);
  const writer = new UnindexedWriter(provider, space);
  try {
    if (!isKnown) await writer.begin(signal);
    const taken = isKnown ? valid(items, store, source) : held(items, writer, signal);
    const { loaded } = await store.loadFrom(taken, {
      signal,
      onError: 'continue',
      onFailure: async ({ index, error }) => await source.refuseLoaded(index, error),
      onProgress: ({ loaded: rows, failed: refused }) => {
        if (refused > 0) source.endAfterFailure();
        if (progress.isTerminal) progress.show({ what, rows, total: undefined });
      },
    });
    return loaded;
  } finally {
    // after a pause that was longer than the hold, another process may have built them
    await writer.keep(new AbortController().signal);
    await writer.end();
  }
}

interface Loaded {
  readonly loaded: number;
  readonly refused: RefusedRecords;
  readonly expired: number;
}

/** How many failures are printed as text. */
const printedMax = 10;

function reportOf(
  storage: string,
  database: string,
  { state, onError, failures: file }: Options,
  { loaded, refused: { count: failed, first: failures }, expired }: Loaded,
): Report {
  const counts = [
    ...(failed === 0 ? [] : [`${counted(failed, 'record was', 'records were')} refused`]),
    ...(expired === 0 ? [] : [`${counted(expired, 'entry had', 'entries had')} expired`]),
  ];
  return {
    json: { command: 'import', storage, database, state, loaded, failed, expired, failures },
    text: [
      `Imported ${counted(loaded, 'entry', 'entries')} into ${state} of '${database}'${counts.map((each) => `; ${each}`).join('')}.`,
      ...failures.slice(0, printedMax).map(({ line, message }) => ({
        text: `${line === undefined ? '' : `line ${line}: `}${message}`,
        style: 'bad' as const,
      })),
      ...(failed > Math.min(printedMax, failures.length)
        ? [`${counted(failed - Math.min(printedMax, failures.length), 'more', 'more')}.`]
        : []),
      ...(failed > 0 && file !== undefined ? [`All of them are in ${file}.`] : []),
      ...(failed > 0 && onError === 'stop'
        ? ['The import ended there. To skip what is refused: --on-error continue.']
        : []),
    ],
    failed: failed > 0,
  };
}
