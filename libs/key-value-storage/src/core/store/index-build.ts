/**
 * Builds an index from the rows of its store, page by page, while others read and write. Several
 * processes may build one index: each page is one batch that checks every row it rests on. The
 * status row keeps how far a build has come, so that another process continues it.
 */
import type { Contribution } from '../commit/commit.js';
import type { StorageAccess } from '../commit/storage-access.js';
import { decodeKey } from '../encoding/key-encoding.js';
import { isStorageError, storageError } from '../base/errors.js';
import { inspect } from '../base/inspect.js';
import { messageOf } from '../base/kinds.js';
import { indexEntity, type ResolvedIndex } from './index-definition.js';
import { indexAddress, IndexValue, putIndexRow, readIndexRow, ttlInIndex } from './index-row.js';
import { readStatus, statusChange, type IndexStatus, type ReadStatus } from './index-status-row.js';
import type { ResolvedState } from './state-definition.js';
import { rowNameOf } from '../port/row-name.js';
import type {
  Address,
  Change,
  Check,
  Row,
  RowAddress,
  ScannedRow,
  Space,
  StoredValue,
} from '../port/storage-provider.js';
import type { ValueCodec } from './value-codec.js';

interface IndexBuild<T> {
  readonly access: StorageAccess;
  readonly state: ResolvedState<T>;
  readonly codec: ValueCodec<T>;
  readonly index: ResolvedIndex;
  readonly database: string;
}

/** Rows of one batch; each entry takes two. */
const pageRows = 200;
/** Characters of the values of one batch: with the copies far below `batchBytesMax`. */
const pageCharactersMax = 1_000_000;

/** How many lost answers end a build. */
const lostMax = 10;

/** What the index does not allow: it stays unready until the data or the definition change. */
class BuildFailed extends Error {}

/**
 * Builds the index, unless another process changes its status, or one still writes with another
 * definition or without index rows. Afterwards the status says how far it came.
 */
export async function buildIndex<T>(build: IndexBuild<T>): Promise<void> {
  const { index } = build;
  for (let lost = 0; ;) {
    const status = await statusOf(build);
    if (status?.hash !== index.hash || status.status !== 'building') return;
    if (await isOtherWriterThere(build)) return;
    try {
      if (await buildFrom(build, status)) return;
    } catch (error) {
      // it goes on with what is stored: a call that waits has not asked for this commit
      if (isStorageError(error, 'STORAGE_OUTCOME_UNKNOWN')) {
        if ((lost += 1) === lostMax) throw answersLost(build, error);
        continue;
      }
      if (!(error instanceof BuildFailed)) throw error;
      await fail(build, error.message);
      return;
    }
  }
}

function answersLost<T>({ state, index }: IndexBuild<T>, cause: unknown): Error {
  const message = `The index '${index.name}' of '${state.name}' is not built: answers to its commits were lost.`;
  return storageError('STORAGE_UNAVAILABLE', message, {}, { cause });
}

async function fail<T>(build: IndexBuild<T>, why: string): Promise<void> {
  const status = await statusOf(build);
  if (status?.hash !== build.index.hash || status.status !== 'building') return;
  const { hash, rowVersion, old } = status;
  await writeStatus(build, rowVersion, { hash, status: 'failed', why, old });
}

/** Whether it is complete; false where the status has changed. */
async function buildFrom<T>(build: IndexBuild<T>, begun: ReadStatus): Promise<boolean> {
  let status: ReadStatus | undefined = begun;
  if (begun.after === undefined) await removeWrongRows(build);
  let more = true;
  while (more) {
    const page: IndexedPage = await indexPage(build, status.after);
    ({ more } = page);
    if (!more) break;
    status = await continued(build, status, page.after);
    if (status === undefined) return false;
  }
  const { hash, old } = status;
  const ready = { hash, status: 'ready', old } as const;
  const noOtherWriter = otherWriterRows(build).map((address) => ({ address, expected: 'absent' }) as const);
  const version = await writeStatus(build, status.rowVersion, ready, noOtherWriter);
  if (version === undefined) {
    // what another writer changed may be behind the position
    await writeStatus(build, status.rowVersion, { hash, status: 'building', old });
    return false;
  }
  await deleteOldRows(build, old);
  if (old.length > 0) await writeStatus(build, version, { ...ready, old: [] });
  return true;
}

/** The status with the position of the build; undefined where another process has changed it. */
async function continued<T>(
  build: IndexBuild<T>,
  status: ReadStatus,
  after: string | undefined,
): Promise<ReadStatus | undefined> {
  const next = { ...status, after };
  const rowVersion = await writeStatus(build, status.rowVersion, next);
  return rowVersion === undefined ? undefined : { ...next, rowVersion };
}

async function writeStatus<T>(
  { access, database, index }: IndexBuild<T>,
  version: string,
  status: IndexStatus,
  more: readonly Check[] = [],
): Promise<string | undefined> {
  const checks = [{ address: index.statusRow, expected: { version } }, ...more];
  const result = await access.commit(database, { checks, changes: [statusChange(index, status)] });
  return result.outcome === 'committed' ? result.version : undefined;
}

async function statusOf<T>({ access, database, index }: IndexBuild<T>): Promise<ReadStatus | undefined> {
  const address = { database, ...index.statusRow };
  const { row, time } = await access.readOne(address);
  return readStatus(address, row, time);
}

async function isOtherWriterThere<T>(build: IndexBuild<T>): Promise<boolean> {
  const { access, database } = build;
  const addresses = otherWriterRows(build).map((address) => ({ database, ...address }));
  return (await access.read(addresses, { values: 'omit' })).rows.some((row) => row !== undefined);
}

/** While one of them is there, the index stays unready. */
const otherWriterRows = <T>({ index }: IndexBuild<T>): readonly RowAddress[] => [
  index.otherWriterRow,
  index.unindexedWriterRow,
];

interface IndexedPage {
  /** The last key of the page. */
  readonly after: string | undefined;
  readonly more: boolean;
}

/** Indexes the entries behind a key, as many as fit into a batch. */
async function indexPage<T>(build: IndexBuild<T>, after: string | undefined): Promise<IndexedPage> {
  const { access, database, state } = build;
  const space = { database, container: state.container, entity: state.entity };
  for (let limit = pageRows; ; limit = Math.max(1, Math.floor(limit / 2))) {
    const [page] = await access.scan([{ ...space, limit, ...(after !== undefined && { after }) }]);
    const rows = withinCharacters(page.rows);
    const last = rows.at(-1)?.key ?? after;
    if (await indexRows(build, space, rows))
      return { after: last, more: page.more || rows.length < page.rows.length };
  }
}

function withinCharacters(rows: readonly ScannedRow[]): readonly ScannedRow[] {
  let characters = 0;
  const end = rows.findIndex(({ row: { value } }) => {
    characters += value.kind === 'json' ? value.text.length : 0;
    return characters > pageCharactersMax;
  });
  return end < 0 ? rows : rows.slice(0, Math.max(1, end));
}

/** False where one of the rows has changed since it was read. */
async function indexRows<T>(
  build: IndexBuild<T>,
  space: Space,
  scanned: readonly ScannedRow[],
): Promise<boolean> {
  const { access, database } = build;
  const indexed: { readonly key: string; readonly row: Row; readonly to: RowAddress }[] = [];
  for (const { key, row } of scanned) {
    const to = await addressIn(build, { ...space, key }, row);
    if (to !== undefined) indexed.push({ key, row, to });
  }
  if (indexed.length === 0) return true;
  const { rows } = await access.read(indexed.map(({ to }) => ({ database, ...to })));
  const lasting: { readonly checks: Check[]; readonly changes: Change[] } = { checks: [], changes: [] };
  /** Rows with an expiry, each with the version of its entry, by which it is renewed. */
  const expiring: (Contribution & { readonly version: string })[] = [];
  const owners = new Map<string, string>();
  for (const [position, { key, row, to }] of indexed.entries()) {
    const name = rowNameOf(to);
    const there = rows[position];
    const other = owners.get(name) ?? (await otherOwner(build, space, key, { database, ...to }, there));
    if (other !== undefined) throw taken(to, key, other);
    owners.set(name, key);
    if (there?.version === row.version) continue;
    const expected = there === undefined ? ('absent' as const) : { version: there.version };
    const entry = { container: space.container, entity: space.entity, key };
    const checks = [
      { address: entry, expected: { version: row.version } },
      { address: to, expected },
    ];
    const value = new IndexValue(key, row.value as StoredValue & { readonly kind: 'json' }, row);
    const change = putIndexRow(to, value, ttlInIndex({ keepElse: 'never' }, entry, row));
    if (row.expiresAt === undefined) {
      lasting.checks.push(...checks);
      lasting.changes.push(change);
    } else expiring.push({ checks, changes: [change], version: row.version });
  }
  const results = await Promise.all([
    ...(lasting.changes.length === 0 ? [] : [access.commit(database, lasting)]),
    ...expiring.map(({ version, ...own }) => access.commit(database, own, { version })),
  ]);
  return results.every(({ outcome }) => outcome === 'committed');
}

async function addressIn<T>(
  { index, codec, state }: IndexBuild<T>,
  address: Address,
  row: Row,
): Promise<RowAddress | undefined> {
  try {
    const key = index.keyOf(await codec.decode(address, row.value));
    return key === undefined ? undefined : indexAddress(index, key, address.key);
  } catch (error) {
    throw new BuildFailed(
      `the key of ${state.name} ${inspect(decodeKey(address.key))} cannot be computed: ${messageOf(error)}`,
    );
  }
}

/** The key of another live entry that has a row of a unique index. */
async function otherOwner<T>(
  { access, index }: IndexBuild<T>,
  space: Space,
  key: string,
  address: Address,
  there: Row | undefined,
): Promise<string | undefined> {
  if (!index.unique || there === undefined) return undefined;
  const { own, version } = readIndexRow(address, there);
  if (own === key) return undefined;
  const { row } = await access.readOne({ ...space, key: own }, { values: 'omit' });
  return row?.version === version ? own : undefined;
}

function taken({ key }: RowAddress, one: string, other: string): BuildFailed {
  const [first, second] = [one, other].map((each) => inspect(decodeKey(each)));
  return new BuildFailed(`${first} and ${second} have the same unique key ${inspect(decodeKey(key))}`);
}

/** Deletes the rows whose entry is gone or has changed. */
async function removeWrongRows<T>(build: IndexBuild<T>): Promise<void> {
  const { access, database, index, state } = build;
  const space = { database, container: state.container, entity: state.entity };
  for (let after: string | undefined; ;) {
    const range = { database, ...index.space, limit: pageRows, ...(after !== undefined && { after }) };
    const [page] = await access.scan([range]);
    const found = page.rows.map(({ key, row }) => ({
      address: { ...index.space, key },
      row,
      indexed: readIndexRow({ database, ...index.space, key }, row),
    }));
    const owners = found.map(({ indexed: { own } }) => ({ ...space, key: own }));
    const { rows } = await access.read(owners, { values: 'omit' });
    const checks: Check[] = [];
    const changes: Change[] = [];
    for (const [position, { address, row, indexed }] of found.entries()) {
      const owner = rows[position];
      if (owner?.version === indexed.version) continue;
      checks.push({ address, expected: { version: row.version } });
      changes.push({ kind: 'delete', address });
    }
    const result = changes.length === 0 ? undefined : await access.commit(database, { checks, changes });
    // a row that was written in between: the page is read again
    if (result?.outcome === 'conflict') continue;
    if (!page.more) return;
    after = page.rows.at(-1)?.key;
  }
}

/** Deletes the rows of earlier definitions. */
async function deleteOldRows<T>(
  { access, database, index, state }: IndexBuild<T>,
  old: readonly string[],
): Promise<void> {
  for (const hash of old) {
    const space = {
      container: index.space.container,
      entity: indexEntity(state.entity, index.statusRow.key, hash),
    };
    const range = { database, ...space, limit: pageRows, values: 'omit' } as const;
    for await (const { rows } of access.scanPages(range)) {
      const changes = rows.map(({ key }) => ({ kind: 'delete', address: { ...space, key } }) as const);
      if (changes.length > 0) await access.commit(database, { checks: [], changes });
    }
  }
}
