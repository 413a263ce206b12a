/**
 * What every row has to be that is put as it is: by an import, a restore or a copy. Rows that verbs
 * write are checked on their way down to the port. These come from files and other storages, so
 * they are checked here, once, for every provider: what passes can be read back.
 */
import { storageError } from '../base/errors.js';
import {
  indexContainer,
  indexSeparator,
  isIndexEntity,
  isIndexRowKey,
  isIndexStatusKey,
} from '../encoding/index-encoding.js';
import { decodeKey } from '../encoding/key-encoding.js';
import { limits, type LimitName } from '../base/limits.js';
import { isDeeperThan } from '../encoding/json-levels.js';
import { feedEnd, isFeedPosition } from './feed-position.js';
import { isBytes } from '../base/kinds.js';
import { invalidOption } from '../base/options.js';
import { printable } from '../base/printable.js';
import type { RawRow, Row, RowAddress, Value } from './storage-provider.js';
import { decodeText } from '../encoding/text-encoding.js';
import { utf8Length } from '../base/utf8-length.js';
import { isVersion } from './version.js';

/** The last moment that a `Date` can hold, in milliseconds since 1970. */
const timeMax = 8_640_000_000_000_000;
const int64Max = 2n ** 63n - 1n;
const int64Min = -(2n ** 63n);
const loneSurrogate = /\p{Surrogate}/u;

/**
 * Refuses a row that could not be read back. `STORAGE_CORRUPT` names the row, and what is wrong
 * with it: an address that is no encoding or is over a limit, a version that is none, a time that
 * is no whole number of milliseconds, a position in the feed that no provider gives, a number
 * beyond 64 bits, text that is no JSON, or that is nested deeper than `limits.valueLevelsMax`, a
 * value over `limits.valueBytesMax`. `INVALID_OPTION` for a value that was left out.
 */
function assertRawRow(database: string, raw: RawRow): void {
  const fault = faultOfDatabase(database) ?? faultOfRow(raw);
  if (fault === undefined) return;
  const place = placeOf(database, raw);
  if ((raw as Partial<RawRow>).row?.value?.kind === 'omitted')
    throw invalidOption(`An import needs values: that of ${place} was left out.`);
  throw storageError('STORAGE_CORRUPT', `The row ${place} is damaged: ${fault}.`, { place });
}

/**
 * The rows, each one checked by `assertRawRow` before it is handed on. For the imports of
 * providers.
 */
export async function* soundRows(
  database: string,
  rows: AsyncIterable<RawRow> | Iterable<RawRow>,
): AsyncGenerator<RawRow, undefined> {
  for await (const raw of rows) {
    assertRawRow(database, raw);
    yield raw;
  }
  return undefined;
}

/** A row's address in words. Long parts are cut. */
export const placeOf = (database: string, { container, entity, key }: RowAddress): string =>
  [database, container, ...(entity === '' ? [] : [entity]), key].map(cut).join(' / ');

/** A part of another type than a text may come from a damaged file. */
function cut(part: unknown): string {
  const text = printable(typeof part === 'string' ? part.slice(0, 120) : typeof part);
  return typeof part === 'string' && part.length > 120 ? `${text}…` : text;
}

/** Why no database can have this name; `undefined` where one can. */
export function faultOfDatabase(database: string): string | undefined {
  if (database === '') return 'its database has no name';
  return faultOfPart(database, 'database', 'databaseBytesMax');
}

/** Why a row cannot be read back, whatever its database is; `undefined` where it can. */
export function faultOfRow({ container, entity, key, row }: RawRow): string | undefined {
  // an index row holds its entry in a list: one level more
  const levelsMax = limits.valueLevelsMax + (isOfIndex(container) ? 1 : 0);
  return (
    faultOfAddress({ container, entity, key }) ?? faultOfTimes(row) ?? faultOfValue(row.value, levelsMax)
  );
}

const isOfIndex = (container: unknown): boolean =>
  typeof container === 'string' && container.startsWith(indexContainer);
const isKey = (key: string): boolean => decodeKey(key) !== undefined;

function faultOfAddress({ container, entity, key }: RowAddress): string | undefined {
  if (container === '' || key === '') return 'its address is not complete';
  const keyLimit = container.startsWith('mark:') ? 'recordKeyBytesMax' : 'keyBytesMax';
  return (
    faultOfPart(container, 'container', 'containerBytesMax') ??
    faultOfLength(entity, 'entity', 'entityBytesMax') ??
    faultOfLength(key, 'key', keyLimit) ??
    (isOfIndex(container) ? faultOfIndexAddress(entity, key) : faultOfEncodings(entity, key))
  );
}

function faultOfEncodings(entity: string, key: string): string | undefined {
  if (decodeText(entity) === undefined) return 'its entity is no encoded text';
  return isKey(key) ? undefined : 'its key is no encoded key';
}

function faultOfIndexAddress(entity: string, key: string): string | undefined {
  if (!isIndexEntity(entity)) return 'its entity is none of an index';
  const isKeyOfIndex = entity.includes(indexSeparator) ? isIndexRowKey(key, isKey) : isIndexStatusKey(key);
  return isKeyOfIndex ? undefined : 'its key is none of an index';
}

/** Whether something is an encoded text within its limit. */
function faultOfPart(part: string, name: string, limit: LimitName): string | undefined {
  return (
    faultOfLength(part, name, limit) ??
    (decodeText(part) === undefined ? `its ${name} is no encoded text` : undefined)
  );
}

function faultOfLength(part: string, name: string, limit: LimitName): string | undefined {
  if (typeof part !== 'string') return `its ${name} is no text`;
  return part.length > limits[limit] || utf8Length(part) > limits[limit]
    ? `its ${name} is over the limit ${limit} of ${limits[limit]}`
    : undefined;
}

/** Why its version or a time cannot be; `undefined` where they can. Values are not looked at. */
function faultOfTimes(row: Omit<Row, 'value'>): string | undefined {
  const { version, updatedAt, expiresAt, ttlMs, position } = row;
  if (typeof version !== 'string' || !isVersion(version)) return 'its version is none';
  if (!isTime(updatedAt)) return 'its updatedAt is no time in whole milliseconds';
  if (expiresAt !== undefined && !isTime(expiresAt)) return 'its expiresAt is no time in whole milliseconds';
  if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && ttlMs > 0 && ttlMs <= limits.ttlMsMax))
    return `its ttlMs is no whole number of milliseconds from 1 to ${limits.ttlMsMax}`;
  if (position === undefined) return undefined;
  if (!isFeedPosition(position)) return 'its position in the feed is none';
  if (position >= feedEnd)
    return `its position in the feed is ${position}, and the largest are below ${feedEnd}`;
  return undefined;
}

/** Whether it is a moment: whole milliseconds since 1970 that a `Date` can hold. */
const isTime = (time: unknown): boolean =>
  Number.isSafeInteger(time) && (time as number) >= 0 && (time as number) <= timeMax;

function faultOfValue(value: Value, levelsMax: number): string | undefined {
  switch (value.kind) {
    case 'json':
      return faultOfJson(value.text, levelsMax);
    case 'bytes':
      if (!isBytes(value.bytes)) return 'its bytes are none';
      return value.bytes.length > limits.valueBytesMax ? tooLong : undefined;
    case 'number':
      if (typeof value.number !== 'bigint') return 'its number is none';
      return value.number > int64Max || value.number < int64Min ? 'its number is beyond 64 bits' : undefined;
    case 'omitted':
      return 'its value was left out';
    default:
      return 'its value is of no kind that there is';
  }
}

const tooLong = `its value is over the limit valueBytesMax of ${limits.valueBytesMax}`;

function faultOfJson(text: string, levelsMax: number): string | undefined {
  if (typeof text !== 'string') return 'its JSON is no text';
  if (text.length > limits.valueBytesMax || utf8Length(text) > limits.valueBytesMax) return tooLong;
  if (loneSurrogate.test(text)) return 'its JSON holds half a character';
  if (isDeeperThan(text, levelsMax))
    return `its JSON is nested deeper than the limit valueLevelsMax of ${limits.valueLevelsMax}`;
  try {
    JSON.parse(text);
    return undefined;
  } catch {
    return 'its value is no JSON';
  }
}
