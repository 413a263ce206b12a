/** What `forRoot` takes, and the tokens under which the root hands it on to its own parts. */
import { timerMsMax } from '../../core/base/clock.js';
import { Logger } from '@nestjs/common';
import type { KeyValueStorage } from '../../core/store/key-value-store.js';
import { assertOptions, invalidOption } from '../../core/base/options.js';
import type { RetryOptions } from '../../core/contention/retry-on-conflict.js';
import type { StorageProvider } from '../../core/port/storage-provider.js';

type Awaitable<T> = T | Promise<T>;

export interface TenancyOptions {
  /** The request header that names the tenant. @default 'x-tenant-id' */
  readonly header?: string;
  /**
   * Instead of the header: from the host name, a token, nestjs-cls … `undefined`: 400
   * `TENANT_MISSING`.
   */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- requests of Express, Fastify, GraphQL and sockets differ
  readonly resolve?: (request: any) => Awaitable<string | undefined>;
  /**
   * Asked by TenantMiddleware and TenantInterceptor for each request. false: 404 `TENANT_UNKNOWN`.
   * @default every well-formed name is known
   */
  readonly isKnown?: (tenant: string, storage: KeyValueStorage) => Awaitable<boolean>;
  /** Asked by TenantGuard, behind authentication. false: 403 `TENANT_FORBIDDEN`. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
  readonly mayEnter?: (tenant: string, request: any, storage: KeyValueStorage) => Awaitable<boolean>;
}

export interface KeyValueStorageOptions {
  /**
   * A function is called once per application: test apps of one process then share nothing. An
   * instance that is open elsewhere is `INVALID_STATE`.
   */
  readonly provider: StorageProvider | (() => Awaitable<StorageProvider>);
  /** Further engines by name, for `@State(name, { provider: 'cache' })`. */
  readonly providers?: Readonly<Record<string, StorageProvider | (() => Awaitable<StorageProvider>)>>;
  /** With it, states are 'tenant' by default, and one outside a tenant is `TENANT_MISSING`. */
  readonly tenancy?: TenancyOptions;
  /**
   * How often `update`, `getOrAdd`, `RetryOnConflictInterceptor` … repeat what lost against someone
   * else.
   */
  readonly retry?: RetryOptions;
  /**
   * Milliseconds from one removal of expired rows to the next; they count as gone either way.
   * @default 60_000
   */
  readonly sweepEveryMs?: number | 'never';
}

export const sweepEveryMsDefault = 60_000;

const rootOptions = [
  'provider',
  'providers',
  'tenancy',
  'retry',
  'sweepEveryMs',
] as const satisfies (keyof KeyValueStorageOptions)[];
const tenancyOptions = [
  'header',
  'resolve',
  'isKnown',
  'mayEnter',
] as const satisfies (keyof TenancyOptions)[];

/** `INVALID_OPTION` names the place, what is wrong and what is allowed. */
export function assertRootOptions(place: string, options: KeyValueStorageOptions): void {
  const owner = `KeyValueStorageModule.forRoot (${place})`;
  assertOptions(owner, options, rootOptions);
  const { provider, providers = {}, tenancy, sweepEveryMs = sweepEveryMsDefault } = options ?? {};
  assertProvider(`${owner}: provider`, provider);
  for (const [name, named] of Object.entries(providers)) assertProvider(`${owner}: providers.${name}`, named);
  assertOptions(`${owner}: tenancy`, tenancy, tenancyOptions);
  if (tenancy?.header !== undefined && !/^[\w!#$%&'*+.^`|~-]+$/.test(tenancy.header)) {
    throw invalidOption(
      `${owner}: tenancy.header is the name of a request header; given was '${String(tenancy.header)}'.`,
    );
  }
  if (
    sweepEveryMs !== 'never' &&
    !(typeof sweepEveryMs === 'number' && sweepEveryMs > 0 && sweepEveryMs <= timerMsMax)
  ) {
    throw invalidOption(
      `${owner}: sweepEveryMs is a number of milliseconds above 0 and below 2^31, or 'never'; given was ${String(sweepEveryMs)}.`,
    );
  }
}

function assertProvider(what: string, given: unknown): void {
  const fits =
    typeof given === 'function' ||
    (typeof given === 'object' && given !== null && 'commit' in given && 'open' in given);
  if (!fits)
    throw invalidOption(
      `${what} is a storage provider, or a function that makes one; given was ${given === null ? 'null' : typeof given}.`,
    );
}

const logger = new Logger('KeyValueStorage');

/** Whoever may name a tenant may make one: each takes a database, which stays. */
export function warnOfOpenTenancy(place: string, tenancy: TenancyOptions | undefined): void {
  if (tenancy === undefined || tenancy.isKnown !== undefined || tenancy.resolve !== undefined) return;
  logger.warn(
    `KeyValueStorageModule.forRoot (${place}): tenancy has neither isKnown nor resolve, so every well-formed name in the header ${tenancy.header ?? 'x-tenant-id'} is a tenant, and a client can make as many as it likes. Give it isKnown: (tenant, storage) => …`,
  );
}

export const tenancyToken = Symbol('kvent.tenancy');
export const retryToken = Symbol('kvent.retry');
/** Where `forRoot` was called. */
export const rootCallSiteToken = Symbol('kvent.root-call-site');
