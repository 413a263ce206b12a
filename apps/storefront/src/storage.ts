/** Chooses the storage provider. No other file depends on the choice. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { JsonFileProvider, MemoryProvider, type StorageProvider } from '@kvent/key-value-storage';
import { SetupError } from './setup-error.js';

export interface ChosenStorage {
  /** What it is, for every client of the shop. */
  readonly kind: 'memory' | 'JSON file' | 'Postgres';
  /** A description for the operator, without a password. */
  readonly description: string;
  /** Whether it belongs to the demo: then `--fresh` may empty it. */
  readonly isOwn?: boolean;
  /** The path, for a directory. */
  readonly directory?: string;
  /** The error for the user if it cannot be opened: the reason and what to do. */
  whenUnavailable?(why: string): SetupError;
  /** Creates a provider, not open yet. Loads its packages on demand. */
  create(): StorageProvider | Promise<StorageProvider>;
}

export const chosenStorageToken = Symbol('storefront.storage');

/** The directory of the demo: the only one that `--fresh` empties. */
export const ownDirectory = './data/storefront';
/** The schema of the demo: the only one that `--fresh` empties. */
const ownSchema = 'storefront';

/**
 * `memory`, a directory, `file:` and a directory, or the address of a Postgres database. Without a
 * setting: `./data/storefront`.
 */
export function chooseStorage(setting: string | undefined): ChosenStorage {
  if (setting === 'memory')
    return {
      kind: 'memory',
      description: 'memory (gone when it stops)',
      create: () => new MemoryProvider(),
    };
  if (/^postgres(ql)?:/i.test(setting ?? '')) return postgresAt(setting as string);
  const directory = directoryFrom(setting === undefined || setting === '' ? ownDirectory : setting);
  return {
    kind: 'JSON file',
    description: `JSON file ${directory} (durable, one process)`,
    isOwn: resolve(directory) === resolve(ownDirectory),
    directory,
    create: () => new JsonFileProvider({ directory }),
  };
}

function postgresAt(url: string): ChosenStorage {
  // pg accepts the address of a socket without a host, URL does not
  const isOfSocket = !URL.canParse(url);
  const address = isOfSocket ? url.replace('@/', '@localhost/') : url;
  const parsed = URL.canParse(address) ? new URL(address) : undefined;
  const socket = parsed?.searchParams.get('host') ?? undefined;
  // without a name, the driver would use the name of the user
  if (
    parsed === undefined ||
    (socket === undefined && (isOfSocket || parsed.hostname === '')) ||
    parsed.pathname.length < 2
  )
    throw new SetupError(
      'STOREFRONT_STORAGE must be the address of a Postgres database: postgres://user:password@host:port/database.',
    );
  // other parameters of the address may contain a password
  const host = socket === undefined ? parsed.host : '';
  const place = `${parsed.username === '' ? '' : `${parsed.username}@`}${host}${parsed.pathname}${socket === undefined ? '' : `?host=${socket}`}`;
  return {
    kind: 'Postgres',
    description: `Postgres ${place} (durable, any number of processes)`,
    isOwn: true,
    whenUnavailable: (why) =>
      new SetupError(
        `Postgres ${place} cannot be opened: ${why}. Is it running, and is the address right?`,
        '"docker compose up -d --wait" starts one at postgres://kvent:kvent@localhost/kvent',
      ),
    create: async () => {
      const { PostgresProvider } = await import('@kvent/key-value-postgres');
      const name = parsed.searchParams.has('application_name') ? {} : { applicationName: 'storefront' };
      // shown while the shop waits for a server that is not there yet
      const warn = (message: string): void => void process.stderr.write(`${message}\n`);
      return new PostgresProvider({ url, schema: ownSchema, warn, readerTimeoutMs: 60_000, ...name });
    },
  };
}

function directoryFrom(setting: string): string {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]+):(.*)$/is.exec(setting) ?? [];
  if (scheme === undefined) return setting;
  // Repeats the scheme only: the rest may contain a password.
  if (scheme.toLowerCase() !== 'file' || rest === '')
    throw new SetupError(
      `STOREFRONT_STORAGE must be memory, a directory, file: and a directory, or postgres://user:password@host/database; got "${scheme}:".`,
    );
  return rest.startsWith('//') ? localPath(setting) : rest;
}

function localPath(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw new SetupError(
      'STOREFRONT_STORAGE must be the address of a local directory: file:///absolute/path, or file:relative/path.',
    );
  }
}
