/** Finds the transaction of a caller for the option `transactions`. */
import { invalidOption } from '@kvent/key-value-storage/provider';
import { isPromise, messageOf, refusedPromise } from '@kvent/key-value-storage/internal';
import type { DataSource, EntityManager } from 'typeorm';
import { dataSourceOf } from './data-source-of.js';
import { enterTransaction } from './open-transactions.js';

/** How to find the transaction of a caller. */
export interface AmbientTransactions {
  /**
   * The manager of the transaction in the current async context. `undefined`, or a manager without
   * a transaction or of another data source: the call is outside transactions.
   */
  readonly current: () => EntityManager | undefined;
}

interface AmbientOptions {
  readonly transactions: 'ambient' | AmbientTransactions | undefined;
  readonly dataSource: DataSource | undefined;
  readonly warn: (message: string) => void;
}

/** The part of `TransactionHost` that is used. */
interface Host {
  readonly tx: unknown;
}
interface HostClass {
  /** One host for each connection of the application. */
  readonly _instanceMap?: ReadonlyMap<unknown, Host>;
}
type LoadHosts = () => Promise<{ readonly TransactionHost: HostClass }>;

/** Resolved from the application's packages: the library is an optional peer. */
const loadHosts: LoadHosts = async () =>
  (await import('@nestjs-cls/transactional')) as unknown as { readonly TransactionHost: HostClass };

/**
 * Returns the transaction that calls join: undefined where the caller has none on this data source.
 * `INVALID_OPTION` for 'ambient' without one of its libraries.
 */
export async function ambientTransactions(
  { transactions, dataSource, warn }: AmbientOptions,
  load: LoadHosts = loadHosts,
): Promise<(() => EntityManager | undefined) | undefined> {
  if (transactions === undefined || dataSource === undefined) return undefined;
  const { current } = transactions === 'ambient' ? await ofLibraries(dataSource, warn, load) : transactions;
  return () => {
    const manager = current();
    if (isPromise<unknown>(manager)) throw refusedPromise('PostgresProvider: transactions.current', manager);
    if (manager === undefined || dataSourceOf(manager) !== dataSource) return undefined;
    const { queryRunner } = manager;
    // between its commit and its release, hooks of the application run: they are outside
    if (queryRunner?.isTransactionActive !== true && queryRunner?.isReleased !== true) return undefined;
    // stores keep what they have joined, also for a later transaction of the manager
    enterTransaction(manager);
    return manager;
  };
}

async function ofLibraries(
  source: DataSource,
  warn: (message: string) => void,
  load: LoadHosts,
): Promise<AmbientTransactions> {
  // typeorm-transactional replaces the manager of the data source by that of the transaction
  if (isPatched(source)) return { current: () => source.manager };
  const hosts = await load().then(
    ({ TransactionHost }) => TransactionHost,
    (error: unknown) => {
      throw notInstalled(error);
    },
  );
  let host: Host | undefined;
  let isWarned = false;
  return {
    current: () => {
      // the plugin may be initialised after the storage
      host ??= hostOf(hosts, source);
      if (host !== undefined) return host.tx as EntityManager;
      if (isPatched(source)) return source.manager;
      if (!isWarned) warn(notRegistered);
      isWarned = true;
      return undefined;
    },
  };
}

const isPatched = (source: DataSource): boolean =>
  Object.getOwnPropertyDescriptor(source, 'manager')?.get !== undefined;

/** Outside transactions, a host returns the manager of its data source. */
const hostOf = ({ _instanceMap: hosts }: HostClass, source: DataSource): Host | undefined =>
  [...(hosts?.values() ?? [])].find(({ tx }) => tx instanceof Object && dataSourceOf(tx) === source);

const notInstalled = (error: unknown): Error =>
  invalidOption(
    `PostgresProvider: transactions: 'ambient' needs a library of ambient transactions for its dataSource. Install @nestjs-cls/transactional and @nestjs-cls/transactional-adapter-typeorm; or call addTransactionalDataSource of typeorm-transactional before the storage opens; or set transactions: { current }. ${messageOf(error)}`,
  );

const notRegistered =
  "PostgresProvider: transactions: 'ambient' found no ClsPluginTransactional with the TypeORM adapter for its dataSource: until there is one, calls are outside transactions.";
