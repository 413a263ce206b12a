/** Where a storage is: a directory, or the address of a Postgres database. */
import { fileURLToPath } from 'node:url';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import { looksLikeAddress } from '@kvent/key-value-storage/internal';
import { UsageError } from './usage-error.js';

export type Place =
  | { readonly kind: 'directory'; readonly directory: string; readonly name: string }
  | { readonly kind: 'postgres'; readonly url: string; readonly name: string };

/** A place as people write it. `name`: as it is told, without the password. */
export function placeOf(given: string): Place {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]+):(.*)$/is.exec(given) ?? [];
  if (scheme === undefined && given !== '') return directoryAt(given);
  if (/^postgres(ql)?$/i.test(scheme ?? '') && rest.startsWith('//'))
    return { kind: 'postgres', url: given, name: withoutPassword(given) };
  if (scheme?.toLowerCase() === 'file' && rest !== '') {
    return directoryAt(rest.startsWith('//') ? localPath(given) : rest);
  }
  // the scheme alone is repeated: the rest may hold a password
  const what = scheme === undefined ? 'it is empty' : `it begins with "${scheme.slice(0, 20)}:"`;
  throw new UsageError(`A storage is a directory, or postgres://user@host:port/database; ${what}.`);
}

/** A mistyped address must not become a directory that is called by its password. */
function directoryAt(directory: string): Place {
  if (!looksLikeAddress(directory)) return { kind: 'directory', directory, name: directory };
  throw new UsageError(
    'A directory has no address in its name, no quotes and no blanks at its ends. A storage is a directory, or postgres://user@host:port/database, without quotes around it.',
  );
}

function localPath(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw new UsageError(
      'That is not the address of a local directory: file:///absolute/path, or file:relative/path.',
    );
  }
}

/** Of a socket, `pg` takes an address without a host, and `URL` does not. */
function withoutPassword(given: string): string {
  const isOfSocket = !URL.canParse(given);
  const address = isOfSocket ? given.replace('@/', '@localhost/') : given;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || (url.host === '' && url.pathname.length <= 1))
    throw new UsageError(
      'That is not the address of a Postgres database: postgres://user:password@host:port/database.',
    );
  const host = isOfSocket ? '' : url.host;
  const socket = url.searchParams.get('host');
  return `${url.protocol}//${url.username === '' ? '' : `${url.username}@`}${host}${url.pathname}${socket === null ? '' : `?host=${socket}`}`;
}

/** What a place is opened with. `role`: only a target may be made where there is nothing. */
export interface OpenOptions {
  readonly role: 'source' | 'target';
  readonly schema?: string | undefined;
  readonly table?: string | undefined;
  /**
   * How long a directory may belong to another process, and how long others may hold what is to be
   * frozen or written.
   */
  readonly waitMs: number;
  /** Hears what a provider has to say besides. */
  readonly warn: (message: string) => void;
}

/**
 * To drop or to count a large table takes a while, and nobody waits for an answer behind this one.
 */
const requestTimeoutMs = 10 * 60_000;

/** The provider of a place, not open yet. What it needs is loaded only now. */
export async function providerAt(
  place: Place,
  { role, schema, table, waitMs, warn }: OpenOptions,
): Promise<StorageProvider> {
  if (place.kind === 'directory') {
    const { JsonFileProvider } = await import('@kvent/key-value-storage/core');
    const access =
      role === 'target'
        ? ({ create: 'if-missing' } as const)
        : ({ create: 'never', readOnly: true } as const);
    return new JsonFileProvider({ directory: place.directory, ...access, lockTimeoutMs: waitMs, warn });
  }
  const { PostgresProvider } = await import('@kvent/key-value-postgres');
  return new PostgresProvider({
    url: place.url,
    migrate: role === 'target' ? 'on-open' : 'never',
    lockTimeoutMs: Math.max(1, Math.round(waitMs)),
    requestTimeoutMs,
    ...(/[?&]application_name=/.test(place.url) ? {} : { applicationName: 'kvent' }),
    warn,
    ...(schema === undefined ? {} : { schema }),
    ...(table === undefined ? {} : { table }),
  });
}
