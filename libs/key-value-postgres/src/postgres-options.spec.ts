import { describe, expect, it } from '@jest/globals';
import { isStorageError, systemClock } from '@kvent/key-value-storage/provider';
import { DataSource } from 'typeorm';
import { PostgresProvider } from './postgres-provider.js';
import { resolvePostgres, type PostgresProviderOptions } from './postgres-options.js';

const url = 'postgres://shopkeeper:secret@localhost:5432/shop';

/** What a constructor says when it refuses these options. */
function refusal(options: object): string {
  try {
    new PostgresProvider(options);
  } catch (error) {
    if (isStorageError(error, 'INVALID_OPTION') && error.effect === 'none') return error.message;
    throw error;
  }
  throw new Error('It was taken.');
}

describe('options of the Postgres provider', () => {
  it.each<[string, object]>([
    ['a url', { url }],
    ['a url in the longer spelling, over a socket', { url: 'postgresql:///shop?host=/var/run/postgresql' }],
    ['a long lockTimeoutMs alone', { url, lockTimeoutMs: 600_000 }],
    ['a short requestTimeoutMs alone', { url, requestTimeoutMs: 1_000 }],
    ['a url of a socket, with a user', { url: 'postgres://shopkeeper@/shop?host=/var/run/postgresql' }],
    [
      'a url of a socket, with a password',
      { url: 'postgres://shopkeeper:secret@/shop?host=/var/run/postgresql&port=5433' },
    ],
    ['a url of a socket as pg has it too', { url: 'socket:///var/run/postgresql?db=shop' }],
    ['a url of a socket with one slash', { url: 'socket:/var/run/postgresql?db=shop&encoding=utf8' }],
    ['a url of a socket, with its user', { url: 'socket://u:secret@/var/run/postgresql?db=shop' }],
    ['a folder and a database', { url: '/var/run/postgresql shop' }],
    ['a folder', { url: '/var/run/postgresql' }],
    ['a url in the shorter spelling', { url: 'pg://shopkeeper:secret@localhost/shop' }],
    ['a url whose host is a folder', { url: 'postgres://shopkeeper@%2Fvar%2Frun%2Fpostgresql/shop' }],
    ['a url in capitals', { url: 'POSTGRES://shopkeeper:secret@localhost/shop' }],
    [
      'a url that says TLS, options and a name',
      { url: `${url}?sslmode=verify-full&options=-c search_path=x&application_name=a` },
    ],
    [
      'a url, and beside it what it does not say',
      { url, ssl: true, applicationName: 'a', extra: { options: '-c search_path=x', max: 5 } },
    ],
    [
      'a host and everything else that there is',
      {
        host: 'db',
        port: 5433,
        username: 'u',
        password: async () => await Promise.resolve('p'),
        database: 'd',
        ssl: { ca: '' },
        applicationName: 'shop',
        poolSize: 1,
        connectAttempts: 1,
        connectDelayMs: 1,
        extra: { keepAlive: true },
        migrate: 'never',
        preparedStatements: false,
        acquireTimeoutMs: 1,
        requestTimeoutMs: 2 ** 31 - 1,
        lockTimeoutMs: 1,
        schema: 's',
        table: 't',
        warn: () => undefined,
        clock: systemClock,
      },
    ],
    [
      'undefined for whatever may be left out',
      {
        url,
        host: undefined,
        poolSize: undefined,
        migrate: undefined,
        dataSource: undefined,
        clock: undefined,
        schema: undefined,
        password: undefined,
      },
    ],
    ['a data source', { dataSource: new DataSource({ type: 'postgres' }) }],
  ])('takes %s', (_, options) => {
    expect(() => new PostgresProvider(options as PostgresProviderOptions)).not.toThrow();
  });

  it.each<[object, ...string[]]>([
    [{ url, poolsize: 5 }, `no option 'poolsize'`, 'poolSize'],
    [{}, 'needs a dataSource, a url, or a host'],
    [{ port: 5432 }, 'needs a dataSource, a url, or a host'],
    [{ url, host: 'db', password: 'secret' }, 'a url or its parts, not both', 'url and host, password'],
    [{ url: 'mysql://shopkeeper:secret@localhost/shop' }, 'url must be postgres://'],
    [{ url: 'localhost' }, 'url must be postgres://'],
    [{ url: '' }, 'url must be postgres://'],
    [{ url: 5 }, 'url must be postgres://'],
    [{ url: 'postgres://shopkeeper:100%secret@localhost/shop' }, 'url must be postgres://', '%25'],
    [{ url: 'postgres://shopkeeper:sec/ret@localhost/shop' }, 'url must be postgres://'],
    ...[
      [{ url: `${url}?sslmode=disable`, ssl: true }, 'ssl and sslmode in the url'],
      [{ url: `${url}?ssl=true`, ssl: {} }, 'ssl and ssl in the url'],
      [{ url: `${url}?sslrootcert=ca.pem`, ssl: true }, 'ssl and sslrootcert in the url'],
      [{ url: `${url}?sslmode=verify-full`, extra: { ssl: false } }, 'sslmode in the url and extra.ssl'],
      [{ host: 'db', ssl: true, extra: { ssl: false } }, 'ssl and extra.ssl'],
      [{ host: 'db', extra: { host: 'other' } }, 'host and extra.host'],
      [{ host: 'db', extra: { connectionString: url }, url }, 'url and'],
      [{ url, extra: { connectionString: url } }, 'url and extra.connectionString'],
      [{ url, extra: { user: 'other' } }, 'url and extra.user'],
      [{ url, poolSize: 5, extra: { max: 6 } }, 'poolSize and extra.max'],
      [
        { url, acquireTimeoutMs: 5, extra: { connectionTimeoutMillis: 6 } },
        'acquireTimeoutMs and extra.connectionTimeoutMillis',
      ],
      [
        { url: `${url}?application_name=a`, applicationName: 'b' },
        'applicationName and application_name in the url',
      ],
      [
        { url: `${url}?options=-c search_path=x`, extra: { options: '-c work_mem=5MB' } },
        'options in the url and extra.options',
      ],
    ].map(([given, words]): [object, string] => [given as object, words as string]),
    [{ url: 'postgres://shopkeeper:secret@' }, 'url must be postgres://'],
    [{ url: 'postgres://' }, 'url must be postgres://'],
    [{ url: 'postgres:shop' }, 'url must be postgres://'],
    [{ url: 'socket:shop' }, 'url must be postgres://', 'or socket:/folder?db=database'],
    [{ url: 'socket:/' }, 'url must be postgres://'],
    [{ url: '/var/run/my folder shop' }, 'url must be postgres://'],
    [{ url: '/var/run shop', host: 'db' }, 'a url or its parts, not both'],
    [{ url: 'socket:/var/run?db=shop', extra: { database: 'shop' } }, 'url and extra.database'],
    [{ url, warn: 'yes' }, 'warn must be a function that takes a message', 'got "yes"'],
    [{ host: '' }, 'host must be the name', 'got ""'],
    [{ host: 5 }, 'host must be the name', 'got 5'],
    [{ host: 'db', port: '5432' }, 'port must be a whole number from 1 to 65535', 'got "5432"'],
    [{ host: 'db', port: 0 }, 'port must be a whole number from 1 to 65535', 'got 0'],
    [{ host: 'db', port: 65_536 }, 'port must be', 'got 65536'],
    [{ host: 'db', username: 5 }, 'username must be a string', 'got 5'],
    [{ host: 'db', username: '' }, 'username must be a string'],
    [{ host: 'db', password: 5 }, 'password must be a string, or a function', 'got number'],
    [{ host: 'db', password: { secret: 'secret' } }, 'password must be a string', 'got object'],
    [{ host: 'db', database: null }, 'database must be a string', 'got null'],
    [{ url, ssl: 'require' }, 'ssl must be true, false, or', 'got "require"'],
    [{ url, applicationName: 1 }, 'applicationName must be a string', 'got 1'],
    [{ url, extra: 'max=5' }, 'extra must be an object'],
    [{ url, connectAttempts: 0 }, 'connectAttempts must be a whole number from 1', 'got 0'],
    [{ url, connectDelayMs: 0 }, 'connectDelayMs must be', 'got 0'],
    [{ url, poolSize: 0 }, 'poolSize must be a whole number from 1', 'got 0'],
    [{ url, poolSize: 1.5 }, 'poolSize must be', 'got 1.5'],
    [{ url, poolSize: '10' }, 'poolSize must be', 'got "10"'],
    [{ url, poolSize: Infinity }, 'poolSize must be', 'got Infinity'],
    [{ url, migrate: 'always' }, `migrate must be 'on-open' or 'never'`, 'got "always"'],
    [{ url, migrate: false }, `migrate must be 'on-open' or 'never'`, 'got false'],
    [{ url, preparedStatements: 'no' }, 'preparedStatements must be true or false', 'got "no"'],
    [{ url, preparedStatements: null }, 'preparedStatements must be true or false', 'got null'],
    ...(['acquireTimeoutMs', 'requestTimeoutMs', 'lockTimeoutMs'] as const).flatMap((name) =>
      [0, -1, 1.5, 2 ** 31, Number.NaN, '5s', null].map((given): [object, ...string[]] => [
        { url, [name]: given },
        `${name} must be a whole number of milliseconds from 1 below 2^31`,
        `got ${typeof given === 'string' ? `"${given}"` : String(given)}`,
      ]),
    ),
    [
      { url, lockTimeoutMs: 500, requestTimeoutMs: 500 },
      'lockTimeoutMs must be below requestTimeoutMs',
      'got 500 and 500',
    ],
    [{ url, clock: {} }, 'clock must be a Clock', 'got object'],
    [{ url, clock: Date }, 'clock must be a Clock', 'got function'],
    [{ url, schema: '' }, 'schema must be a name of 1 to 63 bytes', 'got ""'],
    [{ url, schema: 's'.repeat(64) }, 'schema must be a name of 1 to 63 bytes'],
    [{ url, schema: 'é'.repeat(32) }, 'schema must be a name of 1 to 63 bytes'],
    [{ url, schema: 'nul\0' }, 'without NUL'],
    [{ url, schema: 5 }, 'schema must be a name', 'got number'],
    [{ url, table: 't'.repeat(53) }, 'table must be a name of 1 to 52 bytes'],
    [{ url, table: null }, 'table must be a name', 'got object'],
    [{ url, table: 'kvent_migrations' }, `'kvent_migrations' records the migrations that have run`],
    [{ dataSource: {} }, 'dataSource must be a DataSource', 'got object'],
    [{ dataSource: null }, 'dataSource must be a DataSource', 'got null'],
    [{ dataSource: url }, 'dataSource must be a DataSource', 'got a url'],
    [{ host: url }, 'host must be the name or address of a machine', 'got a url'],
    [{ dataSource: { options: { type: 'mysql' } } }, `of type 'postgres'`, 'got "mysql"'],
    [
      { dataSource: new DataSource({ type: 'postgres' }), url, poolSize: 5 },
      'not both',
      'dataSource and url, poolSize',
    ],
    [{ dataSource: new DataSource({ type: 'postgres' }), extra: {} }, 'not both', 'dataSource and extra'],
  ])('says what is wrong with %j, and what is allowed', (options, ...words) => {
    const message = refusal(options);
    for (const word of words) expect(message).toContain(word);
    expect(message).not.toMatch(/sec\/?ret/);
  });

  it.each([[null], [5], [url]])('says that %p is no options', (options) => {
    expect(refusal(options as unknown as object)).toMatch(/options must be an object|no option/);
    expect(refusal(options as unknown as object)).not.toContain('secret');
  });

  it.each([
    [{}, 5_000, 30_000],
    [{ lockTimeoutMs: 25_001 }, 25_001, 30_001],
    [{ lockTimeoutMs: 60_000 }, 60_000, 65_000],
    [{ requestTimeoutMs: 4_001 }, 2_000, 4_001],
    [{ requestTimeoutMs: 60_000 }, 5_000, 60_000],
    [{ lockTimeoutMs: 50, requestTimeoutMs: 60 }, 50, 60],
  ])('wait with %j for a row for %i ms, and for a response for %i ms', (timeouts, lock, request) => {
    expect(resolvePostgres({ url, ...timeouts })).toMatchObject({
      lockTimeoutMs: lock,
      requestTimeoutMs: request,
    });
  });

  it('does nothing before it is opened, and is refused before it is', async () => {
    const provider = new PostgresProvider({ url });
    await expect(provider.read([])).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    await expect(provider.sweep(1)).rejects.toMatchObject({ code: 'STORAGE_NOT_OPEN' });
    expect(() => provider.within({})).toThrow(expect.objectContaining({ code: 'STORAGE_NOT_OPEN' }));
    await provider.close();
  });

  it('never shows the password: not in its name, not when the server cannot be reached', async () => {
    for (const options of [
      { url: 'postgres://shopkeeper:secret@127.0.0.1:1/shop' },
      { host: '127.0.0.1', port: 1, username: 'shopkeeper', password: 'secret' },
    ]) {
      const provider = new PostgresProvider({ ...options, connectAttempts: 1 });
      expect(provider.name).toBe('Postgres table "kvent"."row"');
      const error: unknown = await provider.open().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', effect: 'none', retryable: true });
      expect(everythingIn(error)).not.toContain('secret');
      expect(everythingIn(error)).toContain('ECONNREFUSED');
      expect((error as Error).message).toContain('cannot be opened at 127.0.0.1:1');
    }
  });
});

/** Whatever could be logged of an error, its causes included. */
function everythingIn(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error);
  const own = Object.getOwnPropertyNames(error).map((name) =>
    String((error as unknown as Record<string, unknown>)[name]),
  );
  return [...own, JSON.stringify(error), error.cause === undefined ? '' : everythingIn(error.cause)].join(
    '\n',
  );
}
