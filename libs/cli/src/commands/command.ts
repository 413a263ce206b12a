/** What commands share: their context, common options, and opening a storage. */
import type { CopyProgress } from '@kvent/key-value-storage/core';
import { isStorageError, untilAborted, type StorageProvider } from '@kvent/key-value-storage/internal/rows';
import { ErrorWithAdvice } from '../output/failure.js';
import type { Report } from '../output/report.js';
import type { ProgressLine } from '../output/progress-line.js';
import { interruptible } from '../input/interruptible.js';
import { createProvider, parseLocation, type Location } from '../input/location.js';
import type { OpenOptions } from '../input/open-options.js';
import { UsageError } from '../input/usage-error.js';

export interface CommandContext {
  /** Aborted by Ctrl+C. */
  readonly signal: AbortSignal;
  readonly progress: ProgressLine;
  /** Prints a part of the result at once. Returns whether its reader is still there. */
  readonly print: (part: Report) => Promise<boolean>;
  /** Writes lines of data to stdout, unchanged. Returns whether its reader is still there. */
  readonly data: (lines: string) => Promise<boolean>;
  /** A text as it may be printed or kept: on one line, without passwords. */
  readonly clean: (text: string) => string;
  /** The ranges of the packages that this command is built with. */
  readonly packageRanges: () => Readonly<Record<string, string>>;
}

/** Options of every command that opens storages, as commander returns them. */
export interface StorageOptions {
  readonly schema?: string;
  readonly table?: string;
  /** Seconds. */
  readonly wait: number;
}

interface Opened extends AsyncDisposable {
  readonly provider: StorageProvider;
}

/**
 * Opens the storage at a location; disposing closes it. What a cancelled command still reads from
 * Postgres is not awaited: the server ends it with its connection.
 */
export async function openLocation(
  location: Location,
  role: OpenOptions['role'],
  { schema, table, wait }: StorageOptions,
  { progress, signal }: CommandContext,
): Promise<Opened> {
  const provider = await createProvider(location, {
    role,
    schema,
    table,
    waitMs: wait * 1_000,
    warn: (message) => progress.note(message),
  });
  const opening = provider.open();
  try {
    await untilAborted('The opening', 'none', signal, opening);
  } catch (error) {
    // the opening continues: close the provider when it is done
    if (isStorageError(error, 'ABORTED'))
      opening.then(
        () => provider.close(),
        () => undefined,
      );
    throw withAdvice(error, location);
  }
  const isAwaited = role !== 'source' || location.kind === 'directory';
  return {
    provider: interruptible(provider, signal),
    [Symbol.asyncDispose]: async () => {
      const closing = provider.close();
      if (isAwaited || !signal.aborted) await closing;
      else closing.catch(() => undefined);
    },
  };
}

export function withAdvice(error: unknown, location: Location): unknown {
  if (isStorageError(error, 'STORAGE_LOCKED'))
    return new ErrorWithAdvice(error, 'Stop that process, or wait for it: --wait 60.');
  if (isStorageError(error, 'STORAGE_CORRUPT') && location.kind === 'directory')
    return new ErrorWithAdvice(
      error,
      `Restore a backup, or copy what is readable: kvent salvage --from ${location.name} --to <a new directory>.`,
    );
  return error;
}

/** `--schema` and `--table` without Postgres would have no effect. */
export function assertTables(locations: readonly Location[], given: object): void {
  const names = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`]));
  if (names.length > 0 && !locations.some(({ kind }) => kind === 'postgres'))
    throw new UsageError(`${names.join(' and ')} must not be used without Postgres.`);
}

/**
 * Opens the storage of a command that concerns one: `withStorage('source', options, context,
 * work)`.
 */
export async function withStorage<R>(
  role: OpenOptions['role'],
  options: StorageOptions & { readonly storage: string },
  context: CommandContext,
  work: (provider: StorageProvider) => Promise<R>,
): Promise<R> {
  const location = parseLocation(options.storage);
  assertTables([location], { schema: options.schema, table: options.table });
  await using opened = await openLocation(location, role, options, context);
  return await work(opened.provider);
}

/** `UsageError` for a command that changes a storage, and was called without `--write`. */
export function assertWrite(command: string, { write }: { readonly write?: boolean }): void {
  if (write !== true)
    throw new UsageError(`kvent ${command} changes the storage: repeat the same command with --write.`);
}

/** A step of a copy: `copying tenant:acme (1 of 2)`. */
export const stepOf = ({ step, database, number, databases }: CopyProgress): string =>
  `${step} ${database}${databases === 1 ? '' : ` (${number} of ${databases})`}`;
