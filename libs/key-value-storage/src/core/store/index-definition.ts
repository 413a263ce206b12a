/** The indexes of a state as the code reads them: their functions, and where their rows are. */
import { inspect } from '../base/inspect.js';
import { assertWithin } from '../base/assert-limits.js';
import { assertOptions, invalidOption } from '../base/options.js';
import { indexContainer, indexSeparator } from '../encoding/index-encoding.js';
import { encodeText } from '../encoding/text-encoding.js';
import { textDigest } from '../encoding/text-digest.js';
import type { Key } from '../base/key.js';
import type { RowAddress, Space } from '../port/storage-provider.js';

export interface ResolvedIndex {
  readonly name: string;
  readonly unique: boolean;
  readonly keyOf: (value: unknown) => Key | undefined;
  /** Of the definition: another one has rows of its own. */
  readonly hash: string;
  /** Where its rows are. */
  readonly space: Omit<Space, 'database'>;
  /** The row that says whether the index is ready, and by which definition. */
  readonly statusRow: RowAddress;
  /** Present for a while after a process with another definition has written. */
  readonly otherWriterRow: RowAddress;
  /** Present while entries are written without their index rows. One for all indexes of a state. */
  readonly unindexedWriterRow: RowAddress;
}

/** Every index adds a copy of the value to a batch of at most 8 MB. */
const indexesMax = 7;

/** The container of the index rows of a state. */
export const indexContainerOf = (stateContainer: string): string =>
  indexContainer + stateContainer.slice(stateContainer.indexOf(':') + 1);

/** Of the rows of an index: another one is built anew. 2: rows expire with their entry. */
const rowFormat = 2;

/** The entity of the rows of one index and one definition of it. */
export const indexEntity = (stateEntity: string, encodedName: string, hash: string): string =>
  [stateEntity, encodedName, hash].join(indexSeparator);

interface IndexedSpace {
  readonly container: string;
  readonly entity: string;
  readonly schemaVersion: number;
}

/** `INVALID_OPTION` for a definition that is not allowed. */
export function resolveIndexes(where: string, given: unknown, state: IndexedSpace): readonly ResolvedIndex[] {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidOption(`${where}: indexes must be an object; got ${inspect(given)}.`);
  const entries = Object.entries(given);
  if (entries.length > indexesMax)
    throw invalidOption(`${where}: a state must have at most ${indexesMax} indexes; got ${entries.length}.`);
  return entries.map(([name, index]) => resolveIndex(`${where}: index ${inspect(name)}`, name, index, state));
}

function resolveIndex(where: string, name: string, given: unknown, state: IndexedSpace): ResolvedIndex {
  const options = typeof given === 'function' ? { key: given } : given;
  if (typeof options !== 'object' || options === null)
    throw invalidOption(`${where} must be a function, or an object with key; got ${inspect(given)}.`);
  assertOptions(where, options, ['key', 'unique', 'version']);
  const { key, unique = false, version } = options as Readonly<Record<string, unknown>>;
  if (name === '') throw invalidOption(`${where} must have a name.`);
  if (typeof key !== 'function')
    throw invalidOption(`${where}: key must be a function; got ${inspect(key)}.`);
  if (typeof unique !== 'boolean')
    throw invalidOption(`${where}: unique must be true or false; got ${inspect(unique)}.`);
  if (version !== undefined && (!Number.isInteger(version) || (version as number) < 1))
    throw invalidOption(`${where}: version must be a whole number from 1; got ${inspect(version)}.`);
  // an upcast may change the keys of what is stored
  const identity = version ?? Function.prototype.toString.call(key);
  const hash = textDigest(JSON.stringify([rowFormat, unique, state.schemaVersion, identity]));
  const encodedName = encodeText(name);
  const space = {
    container: indexContainerOf(state.container),
    entity: indexEntity(state.entity, encodedName, hash),
  };
  assertWithin('entityBytesMax', space.entity, 'name of a state and an index');
  const status = { container: space.container, entity: state.entity };
  return Object.freeze({
    name,
    unique,
    keyOf: key as ResolvedIndex['keyOf'],
    hash,
    space,
    statusRow: { ...status, key: encodedName },
    otherWriterRow: { ...status, key: encodedName + indexSeparator },
    unindexedWriterRow: { ...status, key: indexSeparator },
  });
}

/** The same index of the same state in another container. */
export function indexIn(index: ResolvedIndex, stateContainer: string): ResolvedIndex {
  const container = indexContainerOf(stateContainer);
  return Object.freeze({
    ...index,
    space: { ...index.space, container },
    statusRow: { ...index.statusRow, container },
    otherWriterRow: { ...index.otherWriterRow, container },
    unindexedWriterRow: { ...index.unindexedWriterRow, container },
  });
}

/** Where the rows of a state and of its indexes are. */
export function spacesOf({
  container,
  entity,
  indexes = [],
}: IndexedState): readonly Omit<Space, 'database'>[] {
  const status = indexes.length === 0 ? [] : [{ container: indexContainerOf(container), entity }];
  return [{ container, entity }, ...indexes.map(({ space }) => space), ...status];
}

interface IndexedState {
  readonly container: string;
  readonly entity: string;
  readonly indexes: readonly ResolvedIndex[] | undefined;
}
