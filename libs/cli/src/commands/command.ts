/** What every command is given besides its options. */
import { isStorageError, type CopyProgress, type StorageProvider } from '@kvent/key-value-storage/core';
import { untilAborted } from '@kvent/key-value-storage/provider';
import { Advised } from '../output/failure.js';
import type { ProgressLine } from '../output/progress-line.js';
import { providerAt, type OpenOptions, type Place } from '../input/location.js';
import { UsageError } from '../input/usage-error.js';

export interface CommandContext {
  /** Aborted by Ctrl+C. */
  readonly signal: AbortSignal;
  readonly progress: ProgressLine;
}

/** Options of every command that opens storages, as commander answers them. */
export interface StorageOptions {
  readonly schema?: string;
  readonly table?: string;
  /** Seconds. */
  readonly wait: number;
}
export interface ChoiceOptions {
  readonly tenant?: string;
  readonly shared?: boolean;
}

interface Opened extends AsyncDisposable {
  readonly provider: StorageProvider;
}

/** Opens the storage of a place; disposing closes it. */
export async function openAt(
  place: Place,
  role: OpenOptions['role'],
  { schema, table, wait }: StorageOptions,
  { progress, signal }: CommandContext,
): Promise<Opened> {
  const provider = await providerAt(place, {
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
    // it may still get there: then what it holds is let go
    if (isStorageError(error, 'ABORTED'))
      opening.then(
        () => provider.close(),
        () => undefined,
      );
    throw advised(error, place);
  }
  return { provider, [Symbol.asyncDispose]: () => provider.close() };
}

function advised(error: unknown, place: Place): unknown {
  if (isStorageError(error, 'STORAGE_LOCKED'))
    return new Advised(error, 'Stop that process, or wait for it: --wait 60.');
  if (isStorageError(error, 'STORAGE_CORRUPT') && place.kind === 'directory')
    return new Advised(
      error,
      `Restore a backup, or copy what is readable: kvent salvage --from ${place.name} --to <a new directory>.`,
    );
  return error;
}

/** `--schema` and `--table` where there is no Postgres would be forgotten in silence. */
export function assertTables(places: readonly Place[], given: object): void {
  const names = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`]));
  if (names.length > 0 && !places.some(({ kind }) => kind === 'postgres'))
    throw new UsageError(`${names.join(' and ')} name a table of Postgres, and there is no Postgres here.`);
}

/** The word for a step of a copy: `copying tenant:acme (1 of 2)`. */
export const stepOf = ({ step, database, number, databases }: CopyProgress): string =>
  `${step} ${database}${databases === 1 ? '' : ` (${number} of ${databases})`}`;
