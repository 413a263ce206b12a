/** The options of `forRoot`, and the injection tokens of their parts. */
import { timerMsMax } from '../../core/base/clock.js';
import { Logger, type ExecutionContext } from '@nestjs/common';
import type { KeyValueStorage } from '../../core/store/key-value-store.js';
import { inspect } from '../../core/base/inspect.js';
import { assertOptions, invalidOption } from '../../core/base/options.js';
import type { RetryOptions } from '../../core/contention/retry-on-conflict.js';
import type { PollOptions } from '../../core/watch/poll-options.js';
import type { StorageProvider } from '../../core/port/storage-provider.js';

type Awaitable<T> = T | Promise<T>;

export interface TenancyOptions {
  /** The request header that names the tenant. @default 'x-tenant-id' */
  readonly header?: string;
  /**
   * Replaces the header: returns the tenant by the host name, a token, nestjs-cls … `undefined`:
   * 400 `TENANT_MISSING`. `context`: of the handler, which has the data of a message; `undefined`
   * in TenantMiddleware.
   */
  readonly resolve?: (
    // oxlint-disable-next-line typescript/no-explicit-any -- requests of Express, Fastify, GraphQL and sockets differ
    request: any,
    storage: KeyValueStorage,
    context?: ExecutionContext,
  ) => Awaitable<string | undefined>;
  /**
   * Called by TenantMiddleware and TenantInterceptor for each request. false: 404 `TENANT_UNKNOWN`.
   * @default every well-formed name is known
   */
  readonly isKnown?: (tenant: string, storage: KeyValueStorage) => Awaitable<boolean>;
  /** Called by TenantGuard, after the authentication. false: 403 `TENANT_FORBIDDEN`. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  readonly mayEnter?: (tenant: string, request: any, storage: KeyValueStorage) => Awaitable<boolean>;
}

export interface KeyValueStorageOptions {
  /**
   * A function is called once per application, so that test applications of one process share
   * nothing. An instance that is open already is `INVALID_STATE`.
   */
  readonly provider: StorageProvider | (() => Awaitable<StorageProvider>);
  /** Further providers by name, for `@State(name, { provider: 'cache' })`. */
  readonly providers?: Readonly<Record<string, StorageProvider | (() => Awaitable<StorageProvider>)>>;
  /** With it, the default scope is 'tenant', and a call outside a tenant is `TENANT_MISSING`. */
  readonly tenancy?: TenancyOptions;
  /**
   * How often and how fast `update`, `getOrAdd`, `RetryOnConflictInterceptor` … repeat after a
   * conflict.
   */
  readonly retry?: RetryOptions;
  /**
   * How often watches, and readers of the feed, look for changes of other processes, where the
   * provider is shared.
   */
  readonly poll?: PollOptions;
  /**
   * Milliseconds between removals of expired rows, which are absent also before. @default 60_000
   */
  readonly sweepEveryMs?: number | 'never';
}

export const sweepEveryMsDefault = 60_000;

const rootOptions = [
  'provider',
  'providers',
  'tenancy',
  'retry',
  'poll',
  'sweepEveryMs',
] as const satisfies (keyof KeyValueStorageOptions)[];
const tenancyOptions = [
  'header',
  'resolve',
  'isKnown',
  'mayEnter',
] as const satisfies (keyof TenancyOptions)[];

/** Refuses a `forRoot`, or a factory of `forRootAsync`, without options. */
export function assertRootObject(method: 'forRoot' | 'forRootAsync', place: string, options: unknown): void {
  if (typeof options === 'object' && options !== null) return;
  const subject = method === 'forRoot' ? 'needs options' : ': useFactory must return options';
  throw invalidOption(
    `KeyValueStorageModule.${method} (${place})${method === 'forRoot' ? ' ' : ''}${subject}: { provider: () => new …() }; got ${inspect(options)}.`,
  );
}

/** `INVALID_OPTION` with the call site of `forRoot`, the allowed values and the value. */
export function assertRootOptions(place: string, options: KeyValueStorageOptions): void {
  const owner = `KeyValueStorageModule.forRoot (${place})`;
  assertOptions(owner, options, rootOptions);
  const { provider, providers = {}, tenancy, sweepEveryMs = sweepEveryMsDefault } = options ?? {};
  assertProvider(`${owner}: provider`, provider);
  for (const [name, named] of Object.entries(providers)) assertProvider(`${owner}: providers.${name}`, named);
  assertOptions(`${owner}: tenancy`, tenancy, tenancyOptions);
  if (tenancy?.header !== undefined && !/^[\w!#$%&'*+.^`|~-]+$/.test(tenancy.header)) {
    throw invalidOption(
      `${owner}: tenancy.header must be the name of a request header; got '${String(tenancy.header)}'.`,
    );
  }
  if (
    sweepEveryMs !== 'never' &&
    !(typeof sweepEveryMs === 'number' && sweepEveryMs > 0 && sweepEveryMs <= timerMsMax)
  ) {
    throw invalidOption(
      `${owner}: sweepEveryMs must be a number of milliseconds above 0 and below 2^31, or 'never'; got ${String(sweepEveryMs)}.`,
    );
  }
}

const isProvider = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'commit' in value && 'open' in value;

function assertProvider(what: string, value: unknown): void {
  if (typeof value === 'function' && isProvider(value.prototype))
    throw invalidOption(
      `${what} is the class ${value.name}; give a function that makes one: () => new ${value.name}(…).`,
    );
  if (typeof value !== 'function' && !isProvider(value))
    throw invalidOption(
      `${what} must be a storage provider, or a function that returns one; got ${value === null ? 'null' : typeof value}.`,
    );
}

/** `INVALID_OPTION` for a function of `provider` or `providers` that returned something else. */
export function assertMadeProvider(what: string, value: unknown): asserts value is StorageProvider {
  if (!isProvider(value))
    throw invalidOption(`${what} must return a storage provider; got ${inspect(value)}.`);
}

const logger = new Logger('KeyValueStorage');

/** Without `isKnown` and `resolve`, a client may create any number of databases, which stay. */
export function warnOfOpenTenancy(place: string, tenancy: TenancyOptions | undefined): void {
  if (tenancy === undefined || tenancy.isKnown !== undefined || tenancy.resolve !== undefined) return;
  logger.warn(
    `KeyValueStorageModule.forRoot (${place}): tenancy has neither isKnown nor resolve, so every well-formed name in the header ${tenancy.header ?? 'x-tenant-id'} is a tenant, and a client can create any number of tenants. Add isKnown: (tenant, storage) => …`,
  );
}

export const tenancyToken = Symbol('kvent.tenancy');
export const retryToken = Symbol('kvent.retry');
