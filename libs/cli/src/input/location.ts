/** The location of a storage: a directory, or the address of a Postgres database. */
import { fileURLToPath } from 'node:url';
import { looksLikeAddress, type StorageProvider } from '@kvent/key-value-storage/internal/rows';
import type { OpenOptions } from './open-options.js';
import { UsageError } from './usage-error.js';

/** `name`: the location in messages, without a password. */
export type Location =
  | { readonly kind: 'directory'; readonly directory: string; readonly name: string }
  | { readonly kind: 'postgres'; readonly url: string; readonly name: string };

export function parseLocation(given: string): Location {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]+):(.*)$/is.exec(given) ?? [];
  if (scheme === undefined && given !== '') return directoryAt(given);
  if (/^(postgres(ql)?|pg):\/\/|^socket:\//i.test(given))
    return { kind: 'postgres', url: given, name: withoutPassword(given) };
  if (scheme?.toLowerCase() === 'file' && rest !== '') {
    return directoryAt(rest.startsWith('//') ? localPath(given) : rest);
  }
  // the message repeats only the scheme: the rest may contain a password
  const what = scheme === undefined ? 'an empty text' : `"${scheme.slice(0, 20)}:"`;
  throw new UsageError(`A storage must be a directory or postgres://user@host:port/database; got ${what}.`);
}

/** A mistyped address must not become a directory with a password in its name. */
function directoryAt(directory: string): Location {
  if (!looksLikeAddress(directory)) return { kind: 'directory', directory, name: directory };
  throw new UsageError(
    'The name of a directory must not contain an address, or start or end with a quote or blank. A storage is a directory or postgres://user@host:port/database, without quotes.',
  );
}

function localPath(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw new UsageError('A file address must be file:///absolute/path or file:relative/path.');
  }
}

/** For a socket, `pg` accepts an address without a host, and `URL` does not. */
function withoutPassword(given: string): string {
  const isOfSocket = !URL.canParse(given);
  const address = isOfSocket ? given.replace('@/', '@localhost/') : given;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || (url.host === '' && url.pathname.length <= 1))
    throw new UsageError(
      'The address of a Postgres database must be postgres://user:password@host:port/database, or socket:/folder?db=database.',
    );
  const user = url.username === '' ? '' : `${url.username}@`;
  const host = isOfSocket ? '' : url.host;
  // what else is in the parameters may be a password
  const shown = url.protocol === 'socket:' ? 'db' : 'host';
  const value = url.searchParams.get(shown);
  const slashes = url.protocol === 'socket:' && !given.slice('socket:'.length).startsWith('//') ? '' : '//';
  return `${url.protocol}${slashes}${user}${host}${url.pathname}${value === null ? '' : `?${shown}=${value}`}`;
}

/** Dropping or counting a large table takes a while, and no other call waits for it. */
const requestTimeoutMs = 10 * 60_000;

/** The provider of a location, not open yet. Only the module of its kind is loaded. */
export async function createProvider(location: Location, options: OpenOptions): Promise<StorageProvider> {
  if (location.kind === 'directory') {
    const { directoryProvider } = await import('./open-directory.js');
    return directoryProvider(location.directory, options);
  }
  const { role, schema, table, waitMs, warn } = options;
  const { PostgresProvider } = await import('@kvent/key-value-postgres');
  return new PostgresProvider({
    // a person waits, and can try again
    connectAttempts: 1,
    url: location.url,
    migrate: role === 'target' ? 'on-open' : 'never',
    standby: role === 'target' ? 'refuse' : 'allow',
    lockTimeoutMs: Math.max(1, Math.round(waitMs)),
    requestTimeoutMs,
    ...(/[?&]application_name=/.test(location.url) ? {} : { applicationName: 'kvent' }),
    warn,
    ...(schema === undefined ? {} : { schema }),
    ...(table === undefined ? {} : { table }),
  });
}
