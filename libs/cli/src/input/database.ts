/** The database that a command concerns. */
import { databaseOf, sharedDatabase, type StorageProvider } from '@kvent/key-value-storage/internal/rows';
import { fromArgument, UsageError } from './usage-error.js';

export interface TenantOptions {
  readonly tenant?: string;
  readonly shared?: boolean;
}

export type DatabaseList = Pick<StorageProvider, 'name'> & {
  readonly administration: Pick<StorageProvider['administration'], 'databases'>;
};

/** The chosen database; without a choice all of them. */
export async function chosenDatabases(
  storage: DatabaseList,
  options: TenantOptions,
): Promise<readonly string[]> {
  const existing = await storage.administration.databases();
  const chosen = chosenIn(options);
  if (chosen === undefined) return existing;
  if (existing.includes(chosen)) return [chosen];
  throw new UsageError(`${storage.name} has no database '${chosen}'; it has ${listOf(existing)}.`);
}

/** The chosen database; without a choice the only one. */
export async function chosenDatabase(storage: DatabaseList, options: TenantOptions): Promise<string> {
  const [only, ...more] = await chosenDatabases(storage, options);
  if (only === undefined) throw new UsageError(`${storage.name} is empty.`);
  if (more.length === 0) return only;
  throw new UsageError(
    `${storage.name} has ${listOf([only, ...more])}: choose one with --tenant <id> or --shared.`,
  );
}

/** The chosen database, which may be new; without a choice the only one. */
export const targetDatabase = async (storage: DatabaseList, options: TenantOptions): Promise<string> =>
  chosenIn(options) ?? (await chosenDatabase(storage, options));

function chosenIn({ tenant, shared }: TenantOptions): string | undefined {
  if (shared === true) return sharedDatabase;
  return tenant === undefined ? undefined : fromArgument('--tenant', () => databaseOf(tenant));
}

const namedMax = 5;

/** The first of these names, and how many more there are. */
export function listOf(names: readonly string[]): string {
  const named = names.slice(0, namedMax).map((name) => `'${name}'`);
  if (names.length > namedMax) named.push(`${names.length - namedMax} more`);
  return named.length === 0 ? 'no data' : named.join(', ');
}
