/**
 * Values as JSON text. Plain JSON stays plain JSON. What JSON would lose is kept under a tag (`{
 * "$date": "2026-…" }`), or refused by path; nothing is lost silently. An object that has a key of
 * that form itself gets one more `$` in front of it, so that tags are never guessed.
 *
 * Kept: undefined (as a property and in arrays), NaN, ±Infinity, −0, bigint, Date, Map, Set,
 * Uint8Array. Refused: functions, symbols, cycles, invalid dates, holes in arrays, other classes
 * than the state's own, and classes made from those above: a Buffer too. An object without a
 * prototype comes back as an ordinary one.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { storageError, unstorableValue } from '../base/errors.js';
import { builtInKind, isBare, isObjectPrototype } from '../base/kinds.js';
import { isDeeperThan } from './json-levels.js';
import { limits } from '../base/limits.js';

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
interface Decoded {
  readonly value: unknown;
  /**
   * True if the value is deeply frozen, so that it may be returned repeatedly. Dates, maps, sets
   * and bytes are new at each read.
   */
  readonly shareable: boolean;
}

/** Tags of values, and the two names of the envelope that holds a value's schema version. */
const reserved = /^\$+(undefined|number|bigint|date|map|set|bytes|v|value)$/;
const escaped = /^\$\$+(undefined|number|bigint|date|map|set|bytes|v|value)$/;

/** Why, and where in the value; the path is put together while the recursion unwinds. */
class Unstorable extends Error {
  readonly path: PropertyKey[] = [];
  /** Whether a client may have sent it, as JSON or as what a program makes of a text. */
  readonly mayBeSent: boolean;

  constructor(message: string, { mayBeSent = false } = {}) {
    super(message);
    this.mayBeSent = mayBeSent;
  }
}

// ─── encoding

/**
 * A value as text, and as the frozen value that is returned. `shareable`: it is deeply frozen, so
 * that it may be returned repeatedly.
 */
export interface EncodedValue extends Decoded {
  readonly text: string;
}

/**
 * Encodes a value, schema version included; `INVALID_VALUE` with the path of what cannot be kept,
 * with status 500 where no client can have sent it.
 * `prototype`: the one class allowed at the top.
 */
export function encodeValue(
  value: unknown,
  what: () => string,
  options: { readonly prototype?: object | undefined; readonly schemaVersion: number },
): EncodedValue {
  const { prototype, schemaVersion } = options;
  const plain = new PlainValue();
  const copy = plainCopy(value, prototype, plain);
  if (copy !== notPlain) return plain.complete(copy as Json, schemaVersion);
  try {
    // a request may have no body
    if (value === undefined) throw new Unstorable(isUndefined, { mayBeSent: true });
    const text = textOf(toJson(value, new Set(), prototype), schemaVersion);
    // tags are levels too, and an envelope may be one more
    if (isDeeperThan(text, depthMax)) throw new Unstorable(tooDeep, { mayBeSent: true });
    return { text, ...reviveFrozen(parseStored(text).json, true) };
  } catch (error) {
    if (!(error instanceof Unstorable)) throw error;
    const { message, path, mayBeSent } = error;
    throw (mayBeSent ? invalidValue : valueOfProgram)(what(), [{ message, path }]);
  }
}

/** The JSON of an encoded value; without tags, that is the value. */
export const jsonOf = ({ text, value }: Pick<EncodedValue, 'text' | 'value'>): unknown =>
  mayHoldTags(text) ? (JSON.parse(text) as unknown) : value;

/**
 * Fast path for plain JSON, as most values are: one walk checks and copies them. Other values take
 * the general path.
 */
const notPlain = Symbol('not plain');
/** Deeper ones are refused: whether they can be written and read back would depend on the stack. */
const depthMax = limits.valueLevelsMax;
const isUndefined = 'it is undefined (is a return missing?)';
const tooDeep = `it is nested deeper than ${depthMax} levels`;
/** Deeper values, and cycles, take the general path. */
const plainDepthMax = 100;

/**
 * Frozen when it is first read: an append often needs the text alone, and V8 writes the JSON of
 * frozen objects at half the speed.
 */
class PlainValue implements EncodedValue {
  text = '';
  readonly shareable = true;
  #copy: Json = null;
  /** The objects and arrays of the copy that are not frozen yet: to walk it again takes longer. */
  #parts: Part | undefined;

  add(part: object): void {
    this.#parts = { part, others: this.#parts };
  }

  complete(copy: Json, schemaVersion: number): this {
    this.text = textOf(copy, schemaVersion);
    this.#copy = copy;
    return this;
  }

  get value(): unknown {
    for (; this.#parts !== undefined; this.#parts = this.#parts.others) Object.freeze(this.#parts.part);
    return this.#copy;
  }
}

/** A list with links: an array that grows takes room for 17 items, and most values have few. */
interface Part {
  readonly part: object;
  readonly others: Part | undefined;
}

/** `plain`: gets the objects and arrays of the copy. */
function plainCopy(value: unknown, prototype: object | undefined, plain: PlainValue, depth = 0): unknown {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0) ? value : notPlain;
  if (typeof value !== 'object' || depth === plainDepthMax) return notPlain;
  return Array.isArray(value)
    ? plainArray(value, plain, depth + 1)
    : plainRecord(value as Record<string, unknown>, prototype, plain, depth + 1);
}

function plainArray(array: readonly unknown[], plain: PlainValue, depth: number): unknown {
  const isPlain = Object.getPrototypeOf(array) === Array.prototype || isBare(array);
  // `length` is an own property too
  if (!isPlain || !isCountOfProperties(array, array.length + 1)) return notPlain;
  // not pushed: an array that grows keeps room for more
  const copy = new Array<unknown>(array.length);
  for (let index = 0; index < copy.length; index += 1) {
    const item = plainCopy(array[index], undefined, plain, depth);
    if (item === notPlain) return notPlain;
    copy[index] = item;
  }
  plain.add(copy);
  return copy;
}

function plainRecord(
  record: Record<string, unknown>,
  prototype: object | undefined,
  plain: PlainValue,
  depth: number,
): unknown {
  const parent = Object.getPrototypeOf(record) as object | null;
  if (parent !== Object.prototype && parent !== prototype) return notPlain;
  const names = Object.keys(record);
  if (!isCountOfProperties(record, names.length)) return notPlain;
  const copy: Record<string, unknown> = {};
  for (const name of names) {
    const item = plainCopy(record[name], undefined, plain, depth);
    if (item === notPlain || name.startsWith('$') || name === '__proto__') return notPlain;
    copy[name] = item;
  }
  plain.add(copy);
  return copy;
}

/** Whether an object has that many own properties. `Reflect.ownKeys` takes twice as long. */
const isCountOfProperties = (record: object, count: number): boolean =>
  Object.getOwnPropertyNames(record).length === count && Object.getOwnPropertySymbols(record).length === 0;

function textOf(json: Json, schemaVersion: number): string {
  return schemaVersion === 1 ? JSON.stringify(json) : enveloped(json, schemaVersion);
}

/**
 * `{ "$v": 2, …the properties }`, or `{ "$v": 2, "$value": … }` for a value without properties.
 * Put together as text: in an object, a property named by a number would come before it.
 */
function enveloped(json: Json, schemaVersion: number): string {
  const text = JSON.stringify(json);
  const isObject =
    typeof json === 'object' &&
    json !== null &&
    !Array.isArray(json) &&
    !isTagged(json as Record<string, Json>);
  if (!isObject) return `{"$v":${schemaVersion},"$value":${text}}`;
  return text === '{}' ? `{"$v":${schemaVersion}}` : `{"$v":${schemaVersion},${text.slice(1)}`;
}

function isTagged(json: Record<string, Json>): boolean {
  const [first, second] = Object.keys(json);
  return first !== undefined && second === undefined && reserved.test(first) && !escaped.test(first);
}

function toJson(value: unknown, above: Set<object>, prototype: object | undefined): Json {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { $number: Object.is(value, -0) ? '-0' : String(value) };
    case 'bigint':
      return { $bigint: value.toString() };
    case 'undefined':
      return { $undefined: true };
    case 'object':
      return value === null ? null : objectToJson(value, above, prototype);
    default:
      throw new Unstorable(
        typeof value === 'function' ? 'a function cannot be stored' : 'a symbol cannot be stored',
      );
  }
}

function objectToJson(value: object, above: Set<object>, prototype: object | undefined): Json {
  if (above.has(value)) throw new Unstorable('it contains itself');
  if (above.size === depthMax) throw new Unstorable(tooDeep, { mayBeSent: true });
  above.add(value);
  const json = Array.isArray(value)
    ? arrayToJson(value, above)
    : (specialToJson(value, above) ?? recordToJson(value, above, prototype));
  above.delete(value);
  return json;
}

function arrayToJson(array: readonly unknown[], above: Set<object>): Json {
  if (!isBare(array))
    throw new Unstorable('an instance of a class of arrays cannot be stored: it would come back as an array');
  let copy: Json[] | undefined;
  for (let index = 0; index < array.length; index += 1) {
    // parsers of forms make holes: of `a[5]=x`
    if (!(index in array))
      throw at(index, new Unstorable('an array with holes cannot be stored', { mayBeSent: true }));
    const json = below(index, array[index], above);
    if (copy === undefined && json !== array[index]) copy = array.slice(0, index) as Json[];
    copy?.push(json);
  }
  const names = Reflect.ownKeys(array);
  if (names.length !== array.length + 1)
    throw new Unstorable('an array with properties of its own cannot be stored', {
      mayBeSent: names.every((name) => name === 'length' || isNumber(name)),
    });
  return copy ?? (array as readonly Json[]);
}

/** Of `a[4294967295]=x`, parsers of forms make a property: an index is at most 2^32 − 2. */
const isNumber = (name: PropertyKey): boolean => typeof name === 'string' && !Number.isNaN(Number(name));

function specialToJson(value: object, above: Set<object>): Json | undefined {
  const kind = builtInKind(value);
  if (kind === undefined) return undefined;
  if (!isBare(value)) throw new Unstorable(classOf(kind, value));
  // of bytes, the names are their indexes too: thousands
  const own = kind === 'bytes' ? Object.getOwnPropertySymbols(value) : Reflect.ownKeys(value);
  if (own.length > 0)
    throw new Unstorable('a date, map, set or bytes with properties of its own cannot be stored');
  if (kind === 'date') return dateToJson(value as Date);
  if (kind === 'bytes') return { $bytes: toBase64(value as Uint8Array) };
  if (kind === 'set')
    return { $set: Array.from(value as Set<unknown>, (item, index) => below(index, item, above)) };
  const pairs = Array.from(value as Map<unknown, unknown>);
  return { $map: pairs.map(([key, item], index) => [below(index, key, above), below(index, item, above)]) };
}

function dateToJson(date: Date): Json {
  if (Number.isNaN(date.getTime()))
    throw new Unstorable('an invalid date cannot be stored', { mayBeSent: true });
  return { $date: date.toISOString() };
}

/**
 * Why a subclass of a built-in class is refused: it would be read as another class.
 */
function classOf(kind: 'date' | 'map' | 'set' | 'bytes', value: object): string {
  if (kind !== 'bytes')
    return 'an instance of a class of dates, maps or sets cannot be stored: it would come back as a bare one';
  const name = (value.constructor as { readonly name?: string } | undefined)?.name || 'a class of bytes';
  return `a ${name} cannot be stored: it would come back as a Uint8Array; store new Uint8Array(it), or a text of it`;
}

/** The object itself where it is plain JSON already, a copy from the first property that is not. */
function recordToJson(value: object, above: Set<object>, prototype: object | undefined): Json {
  const parent = Object.getPrototypeOf(value) as object | null;
  const plain = parent === null || isObjectPrototype(parent);
  if (!plain && parent !== prototype) {
    throw new Unstorable(
      `an instance of ${parent.constructor?.name || 'a class'} cannot be stored: it would come back as a plain object`,
    );
  }
  if (Object.getOwnPropertySymbols(value).length > 0)
    throw new Unstorable('a property named by a symbol cannot be stored');
  const record = value as Record<string, unknown>;
  const names = Object.keys(record);
  if (Reflect.ownKeys(record).length !== names.length)
    throw new Unstorable('a property that is not enumerable cannot be stored');
  let copy: Record<string, Json> | undefined;
  for (const [index, name] of names.entries()) {
    const item = record[name];
    const json = below(name, item, above);
    const storedName = name.startsWith('$') && reserved.test(name) ? `$${name}` : name;
    if (copy === undefined && (json !== item || storedName !== name)) copy = firstOf(record, names, index);
    if (copy !== undefined) define(copy, storedName, json);
  }
  // a class instance is copied too, for JSON.stringify would call a method `toJSON` of its class
  return copy ?? (plain ? (record as Record<string, Json>) : firstOf(record, names, names.length));
}

function firstOf(
  record: Record<string, unknown>,
  names: readonly string[],
  count: number,
): Record<string, Json> {
  const copy: Record<string, Json> = {};
  for (let index = 0; index < count; index += 1)
    define(copy, names[index] as string, record[names[index] as string]);
  return copy;
}

function below(name: PropertyKey, value: unknown, above: Set<object>): Json {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  try {
    return toJson(value, above, undefined);
  } catch (error) {
    throw at(name, error);
  }
}

function at(name: PropertyKey, error: unknown): unknown {
  if (error instanceof Unstorable) error.path.unshift(name);
  return error;
}

/** The own properties of `source` as properties of `target`, whatever their names. */
export function copyProperties<T extends object>(target: T, source: object): T {
  for (const name of Object.keys(source)) define(target, name, (source as Record<string, unknown>)[name]);
  return target;
}

/**
 * An own property of any name: assigning one that is inherited (`__proto__`, an accessor of the
 * class) would run code instead.
 */
function define(target: object, name: string, value: unknown): void {
  if (name in target)
    Object.defineProperty(target, name, { value, enumerable: true, writable: true, configurable: true });
  else (target as Record<string, unknown>)[name] = value;
}

// ─── decoding

/**
 * The stored JSON and the schema version it was written with. `SyntaxError` where it is no JSON
 * that this codec wrote.
 */
export function parseStored(text: string): StoredJson {
  const json = JSON.parse(text) as unknown;
  return text.startsWith('{"$v":') ? withoutVersion(json) : { schemaVersion: 1, json };
}

interface StoredJson {
  readonly schemaVersion: number;
  readonly json: unknown;
}

function withoutVersion(json: unknown): StoredJson {
  const { $v, ...rest } = json as { $v: number };
  if (!Number.isSafeInteger($v) || $v < 1)
    throw new SyntaxError('its schema version is no whole number from 1 up');
  return { schemaVersion: $v, json: '$value' in rest ? rest.$value : rest };
}

/**
 * The value of stored JSON, frozen: objects and arrays cannot be changed. `tagged`: whether there
 * may be tags in it. `SyntaxError` for what this codec does not write: an unknown content of a tag,
 * more levels than `limits.valueLevelsMax`.
 */
export function reviveFrozen(json: unknown, tagged: boolean): Decoded {
  if (!tagged) return { value: deepFreeze(json), shareable: true };
  const state = { shareable: true };
  return { value: revive(json, state, 0), shareable: state.shareable };
}

/**
 * The value of stored JSON, frozen, and its schema version; `SyntaxError` as of both functions
 * above. Takes what the provider has parsed.
 */
export function decodeStored(stored: { readonly text: string; readonly take?: () => unknown }): {
  readonly schemaVersion: number;
  readonly value: unknown;
} {
  const parsed = stored.take?.();
  if (parsed === undefined) {
    const { schemaVersion, json } = parseStored(stored.text);
    return { schemaVersion, value: reviveFrozen(json, mayHoldTags(stored.text)).value };
  }
  const { schemaVersion, json } = hasVersion(parsed)
    ? withoutVersion(parsed)
    : { schemaVersion: 1, json: parsed };
  return { schemaVersion, value: freezeUntagged(json, 0) ? json : revive(json, { shareable: true }, 0) };
}

/** No value has this name: that of a property of the user is escaped. */
const hasVersion = (json: unknown): boolean =>
  typeof json === 'object' && json !== null && Object.hasOwn(json, '$v');

/** Freezes JSON; returns false, with some of it frozen, once a name may be that of a tag. */
function freezeUntagged(json: unknown, level: number): boolean {
  if (typeof json !== 'object' || json === null) return true;
  assertLevel(level);
  if (Array.isArray(json)) {
    for (const item of json) if (!freezeUntagged(item, level + 1)) return false;
  } else
    // not `Object.keys`: the lists of names were an eighth of the garbage of a read
    for (const name in json) {
      if (name.startsWith('$')) return false;
      const value = (json as Record<string, unknown>)[name];
      if (typeof value === 'object' && Object.hasOwn(json, name) && !freezeUntagged(value, level + 1))
        return false;
    }
  Object.freeze(json);
  return true;
}

/**
 * Whether a text may contain tags: a fast check that avoids a walk through most values. Most texts
 * have no `$`, and the search for one character is twenty times as fast as that for two.
 */
export const mayHoldTags = (text: string): boolean => text.includes('$') && text.includes('"$');

function deepFreeze(value: unknown, level = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  assertLevel(level);
  // names of items would be made as texts
  if (Array.isArray(value)) for (const item of value) deepFreeze(item, level + 1);
  else for (const name of Object.keys(value)) deepFreeze((value as Record<string, unknown>)[name], level + 1);
  return Object.freeze(value);
}

/** `level`: how many objects and arrays are around it. */
function assertLevel(level: number): void {
  if (level >= depthMax) throw new SyntaxError(tooDeep);
}

function revive(json: unknown, state: { shareable: boolean }, level: number): unknown {
  if (typeof json !== 'object' || json === null) return json;
  assertLevel(level);
  if (Array.isArray(json)) return Object.freeze(json.map((item) => revive(item, state, level + 1)));
  const names = Object.keys(json);
  const [first] = names;
  if (names.length === 1 && first !== undefined && reserved.test(first) && !escaped.test(first)) {
    return reviveTagged(first, (json as Record<string, unknown>)[first], state, level);
  }
  const value = {};
  for (const name of names)
    define(
      value,
      escaped.test(name) ? name.slice(1) : name,
      revive((json as Record<string, unknown>)[name], state, level + 1),
    );
  return Object.freeze(value);
}

/**
 * The value of a tag. A `SyntaxError` for content that this codec does not write: it is damage,
 * and must not become another value.
 */
function reviveTagged(tag: string, content: unknown, state: { shareable: boolean }, level: number): unknown {
  if (tag === '$undefined' && content === true) return undefined;
  if (tag === '$number' && ['NaN', 'Infinity', '-Infinity', '-0'].includes(content as string))
    return Number(content);
  if (tag === '$bigint' && typeof content === 'string' && /^-?\d+$/.test(content)) return BigInt(content);
  state.shareable = false;
  if (tag === '$date' && typeof content === 'string' && !Number.isNaN(Date.parse(content)))
    return new Date(content);
  if (tag === '$bytes' && typeof content === 'string') return fromBase64(content);
  if (tag === '$set' && Array.isArray(content))
    return new Set(content.map((item) => revive(item, state, level + 2)));
  if (
    tag === '$map' &&
    Array.isArray(content) &&
    content.every((pair) => Array.isArray(pair) && pair.length === 2)
  ) {
    return new Map(
      (content as [unknown, unknown][]).map(([key, item]) => [
        revive(key, state, level + 3),
        revive(item, state, level + 3),
      ]),
    );
  }
  throw new SyntaxError(`the tag ${tag} is not known, or holds what it cannot`);
}

export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let index = 0; index < bytes.length; index += 8_192)
    binary += String.fromCharCode(...bytes.subarray(index, index + 8_192));
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    throw new SyntaxError('the bytes are no base64');
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// ─── errors

export const invalidValue = (what: string, issues: readonly StandardSchemaV1.Issue[]) =>
  storageError('INVALID_VALUE', `${what} cannot be stored: ${describeIssues(issues, 'the value')}.`, {
    issues,
  });

const valueOfProgram = (what: string, issues: readonly StandardSchemaV1.Issue[]) =>
  unstorableValue(`${what} cannot be stored: ${describeIssues(issues, 'the value')}.`, { issues });

/** `INVALID_VALUE` with status 500: a function of the program returned nothing. */
export const returnedUndefined = (what: string) => valueOfProgram(what, [{ message: isUndefined, path: [] }]);

/** The first issues of a schema, in words. `whole`: what an issue without a path is about. */
export function describeIssues(issues: readonly StandardSchemaV1.Issue[], whole: string): string {
  const list = issues
    .slice(0, 5)
    .map(({ message, path }) => `${cut(pathOf(path) ?? whole, 120)}: ${cut(message, 200)}`);
  const more = issues.length > list.length ? ` and ${issues.length - list.length} more` : '';
  return `${list.join('; ')}${more}`;
}

/** Names of properties, and messages that contain them, may be as long as the value. */
const cut = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text;

function pathOf(path: StandardSchemaV1.Issue['path']): string | undefined {
  const names = (path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment));
  return names.length === 0 ? undefined : names.map(String).join('.');
}
