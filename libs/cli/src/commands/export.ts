/** `kvent export`: writes the entries of a state, of one moment, as JSON lines or CSV. */
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '@kvent/key-value-storage/internal';
import {
  isOfPart,
  isStorageError,
  storageError,
  type ExportPart,
  type Space,
  type StorageProvider,
} from '@kvent/key-value-storage/internal/rows';
import { putInPlace } from '../backup/put-in-place.js';
import { assertTargetFile } from '../input/assert-target-file.js';
import { assertCsvOptions } from '../input/record-options.js';
import { chosenDatabase, listOf, type TenantOptions } from '../input/database.js';
import { rangeFrom } from '../input/key.js';
import { UsageError } from '../input/usage-error.js';
import { counted, type Report } from '../output/report.js';
import { CsvWriter, jsonLine, type CsvWriterOptions } from '../records/record-writer.js';
import { withStorage, type CommandContext, type StorageOptions } from './command.js';
import { describeSpace, spaceOf } from './space-names.js';

interface Options extends StorageOptions, TenantOptions, CsvWriterOptions {
  readonly storage: string;
  readonly state: string;
  readonly file?: string;
  readonly prefix?: string;
  readonly csv?: boolean;
  readonly container?: string;
  readonly replace?: boolean;
  readonly allowEmpty?: boolean;
  readonly json?: boolean;
}

const chunkLength = 64 * 1_024;

export async function exportEntries(options: Options, context: CommandContext): Promise<Report> {
  assertCsvOptions(options);
  const file = options.file === '-' ? undefined : options.file;
  if (file === undefined && options.json === true)
    throw new UsageError('--json needs a file: without one the entries are the result.');
  if (file !== undefined) assertTargetFile(file, options);
  const bounds = rangeFrom(options.prefix);
  return await withStorage('source', options, context, async (provider) => {
    const { state } = options;
    const database = await chosenDatabase(provider, options);
    const space = spaceOf(state, options);
    await assertSpace(provider, database, space);
    const part = { ...space, ...bounds };
    const entries = new ExportedEntries(provider, database, part, options, context);
    if (file === undefined) await print(entries, context);
    else await writeFile(file, entries, options);
    const { count } = entries;
    const text = `Exported ${counted(count, 'entry', 'entries')} of ${state} from '${database}'${file === undefined ? '' : ` to ${file}`}.`;
    if (file !== undefined)
      return {
        json: { command: 'export', storage: provider.name, database, state, file, entries: count },
        text: [text],
      };
    if (context.progress.isTerminal) context.progress.note(text);
    return { json: undefined, text: [] };
  });
}

/**
 * `UsageError` for a state without entries: with a wrong name, or without its `--container`, an
 * empty export would replace a good one.
 */
async function assertSpace(
  { name, administration }: StorageProvider,
  database: string,
  space: Omit<Space, 'database'>,
): Promise<void> {
  const spaces = await administration.spaces(database);
  if (spaces.some(({ container, entity }) => container === space.container && entity === space.entity))
    return;
  const states = spaces.map(describeSpace).flatMap((each) => (each.kind === 'state' ? [each.name] : []));
  throw new UsageError(
    `'${database}' of ${name} has no entry of state '${describeSpace(space).name}'; it has ${listOf(states)}.`,
  );
}

class ExportedEntries {
  count = 0;
  readonly #provider: StorageProvider;
  readonly #database: string;
  readonly #part: ExportPart;
  readonly #options: Options;
  readonly #context: CommandContext;

  constructor(
    provider: StorageProvider,
    database: string,
    part: ExportPart,
    options: Options,
    context: CommandContext,
  ) {
    this.#provider = provider;
    this.#database = database;
    this.#part = part;
    this.#options = options;
    this.#context = context;
  }

  async *chunks(): AsyncGenerator<string, undefined> {
    const { progress } = this.#context;
    const { csv, state } = this.#options;
    const what = `exporting ${state} from ${this.#database}`;
    const table = csv === true ? new CsvWriter(this.#options) : undefined;
    const lineOf = table === undefined ? jsonLine : table.line;
    let chunk = '';
    for await (const row of this.#provider.administration.export(this.#database, this.#part)) {
      if (!isOfPart(row, this.#part)) continue;
      chunk += lineOf(row);
      this.count += 1;
      if (chunk.length < chunkLength) continue;
      if (progress.isTerminal) progress.show({ what, rows: this.count, total: undefined });
      yield chunk;
      chunk = '';
    }
    yield chunk + (this.count === 0 && table !== undefined ? table.header() : '');
    return undefined;
  }
}

async function print(entries: ExportedEntries, { data, progress }: CommandContext): Promise<void> {
  for await (const chunk of entries.chunks()) {
    progress.clear();
    if (!(await data(chunk))) return;
  }
}

/** A file with this name is complete; a failure leaves none. */
async function writeFile(
  file: string,
  entries: ExportedEntries,
  options: { readonly replace?: boolean; readonly allowEmpty?: boolean },
): Promise<void> {
  const temporary = `${file}.${randomBytes(8).toString('hex')}.tmp`;
  try {
    await pipeline(entries.chunks(), createWriteStream(temporary, { flags: 'wx', flush: true, mode: 0o600 }));
    await putInPlace(temporary, file, { ...options, isEmpty: entries.count === 0 });
  } catch (error) {
    await rm(temporary, { force: true });
    throw isStorageError(error) || error instanceof UsageError ? error : notWritten(file, error);
  }
}

const notWritten = (file: string, error: unknown): Error =>
  storageError(
    'STORAGE_UNAVAILABLE',
    `${file} cannot be written: ${messageOf(error)}.`,
    {},
    { cause: error },
  );
