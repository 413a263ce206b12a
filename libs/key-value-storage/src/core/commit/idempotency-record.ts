/**
 * Idempotency records: rows beside the data, written in the same batch, with a time to live. A
 * repeat finds the record of the first call and returns its result. Only a commit that succeeded
 * leaves one. It has the version of its batch, so a replay knows the etags of the first result.
 */
import type { Contribution } from './commit.js';
import { Participant, type ObservedRows, type Verdict } from './participant.js';
import type { StorageAccess } from './storage-access.js';
import { encodeValue, jsonOf, parseStored, reviveFrozen } from '../encoding/codec.js';
import { DeferredJson } from '../encoding/encoded-json.js';
import { isSha256Synchronous, sha256 } from '../encoding/sha256.js';
import { storageError } from '../base/errors.js';
import { assertWithin } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import { isPromise } from '../base/kinds.js';
import { limits } from '../base/limits.js';
import { invalidOption } from '../base/options.js';
import { rowNameOf } from '../port/row-name.js';
import type { Address, Row } from '../port/storage-provider.js';
import { encodeText } from '../encoding/text-encoding.js';

/** The value of `@IdempotencyKey()`: the key, and the content that a repeat is compared by. */
export abstract class IdempotentCall {
  readonly key: string;
  readonly content: unknown;

  constructor(key: string, content: unknown) {
    this.key = key;
    this.content = content;
  }
}

/** How long records are kept by default: a day. */
export const defaultIdempotencyRetentionMs = 24 * 60 * 60 * 1_000;

/** The key, and what a repeat is compared by; `undefined`: it is not compared. */
interface Idempotency {
  readonly key: string;
  readonly content: unknown;
}

/**
 * The option `idempotencyKey`, with the content given with the key, else `own`, the caller's
 * arguments. `IDEMPOTENCY_KEY_REQUIRED` for a blank text, `INVALID_OPTION` for what is no text,
 * `LIMIT_EXCEEDED` above 255 bytes.
 */
export function idempotencyOf(
  given: string | IdempotentCall | undefined,
  own?: unknown,
): Idempotency | undefined {
  if (given === undefined) return undefined;
  const call =
    typeof given === 'object' && (given as unknown) !== null ? given : { key: given, content: own };
  const { key } = call;
  if (typeof key !== 'string') throw invalidOption(`An idempotency key must be a text; got ${inspect(key)}.`);
  if (key.trim() === '')
    throw storageError('IDEMPOTENCY_KEY_REQUIRED', 'An idempotency key must not be blank.', {});
  assertWithin('idempotencyKeyBytesMax', key, 'idempotency key');
  return { key, content: call.content };
}

/** The row key of a record, within its own space. */
export const idempotencyRecordKey = (idempotencyKey: string): string => encodeText(idempotencyKey);

/**
 * Content as JSON that nothing changes: as text, or as the value of the text, which need not be
 * parsed, but takes more memory until the digest is made.
 */
export type JsonContent = string | { readonly value: unknown };

interface IdempotencyRecordOptions {
  readonly access: StorageAccess;
  readonly address: Address;
  readonly idempotency: Idempotency;
  readonly retentionMs: number;
  /** The content in place of that of `idempotency`: it needs no encoding. */
  readonly json?: JsonContent | undefined;
  /** What a replay returns; called when the batch is sent. It must not change afterwards. */
  readonly result: () => unknown;
}

const what = 'the record of an idempotency key';

/** The record of one commit, as a participant of it. */
export class IdempotencyRecord extends Participant {
  readonly access: StorageAccess;
  readonly database: string;
  readonly what = 'idempotency key';
  override readonly isRecord = true;
  readonly reads: readonly Address[];
  readonly #options: IdempotencyRecordOptions;
  readonly #digest: Digest;

  constructor(options: IdempotencyRecordOptions) {
    super();
    const { json, idempotency } = options;
    this.access = options.access;
    this.database = options.address.database;
    this.reads = [options.address];
    this.#options = options;
    this.#digest = json === undefined ? Digest.ofContent(idempotency.content) : Digest.ofJson(json);
  }

  get subject(): string {
    return `record ${rowNameOf(this.#options.address)}`;
  }

  prepare(): Promise<void> | undefined {
    return this.#digest.prepare();
  }

  contribution(): Contribution {
    const { address, retentionMs, result } = this.#options;
    const value = recordValue(result() ?? null, this.#digest);
    if (value.lengthMax * 3 > limits.valueBytesMax) assertWithin('valueBytesMax', value.text, what);
    return {
      checks: [{ address, expected: 'absent' }],
      changes: [{ kind: 'put', address, value, ttl: retentionMs }],
    };
  }

  content(): unknown {
    return this.#options.idempotency.key;
  }

  evaluate({ rows: [row] }: ObservedRows): Verdict {
    if (row === undefined) return { outcome: 'proceed' };
    const { key } = this.#options.idempotency;
    if (isSameContent(idempotencyRecordIn(row).content, this.#digest.text))
      return { outcome: 'replayed', row };
    const message = `The idempotency key ${inspect(key)} was used for another call; a repeat must have the same content.`;
    return {
      outcome: 'reject',
      error: storageError('IDEMPOTENCY_CONFLICT', message, { idempotencyKey: key }),
    };
  }
}

/** Not in `contribution`: the text, once deferred, must not keep the call in memory. */
const recordValue = (answer: unknown, digest: Digest): DeferredJson =>
  new DeferredJson(() => {
    // encoded together: texts that are joined stay in memory in their parts, nine objects for one
    const record: StoredRecord = { content: digest.text ?? null, answer };
    return encodeValue(record, () => what, { schemaVersion: 1 }).text;
  }, lengthMaxOf(answer));

/** The names of a record, and a digest. */
const recordLength = 120;
/** A number, or a truth value. */
const plainLength = 30;

/** An upper bound of the length of a record; `Infinity` for an answer of several levels. */
function lengthMaxOf(answer: unknown): number {
  if (typeof answer !== 'object' || answer === null) return recordLength + scalarLengthMax(answer);
  let length = recordLength;
  for (const [name, value] of Object.entries(answer)) length += name.length * 6 + 4 + scalarLengthMax(value);
  return length;
}

// a character takes six characters of JSON at most
const scalarLengthMax = (value: unknown): number =>
  typeof value === 'string'
    ? value.length * 6 + 2
    : typeof value === 'object' && value !== null
      ? Number.POSITIVE_INFINITY
      : plainLength;

/** As stored; `answer` is the result of the call. */
interface StoredRecord {
  readonly content: string | null;
  readonly answer: unknown;
}

/** The content of a record and the result of its call; `STORAGE_CORRUPT` where it is damaged. */
export function idempotencyRecordIn(row: Row): { readonly content: string | null; readonly result: unknown } {
  try {
    if (row.value.kind !== 'json') throw new SyntaxError('it is not JSON');
    const { content, answer } = reviveFrozen(parseStored(row.value.text).json, true).value as StoredRecord;
    return { content, result: answer };
  } catch (cause) {
    const message = 'An idempotency record cannot be read back.';
    throw storageError('STORAGE_CORRUPT', message, { place: 'idempotency record' }, { cause });
  }
}

/** Digests of another algorithm are not compared, so that a new release refuses no repeat. */
export function isSameContent(first: string | null, now: string | undefined): boolean {
  if (first === null || now === undefined) return true;
  const algorithmOf = (digest: string): string => digest.slice(0, digest.indexOf(':'));
  return algorithmOf(first) !== algorithmOf(now) || first === now;
}

/** Change the name when the content of calls changes: other names are not compared. */
const digestName = 'sha256-4';

type PendingDigest = string | undefined | Promise<string | undefined>;

/** Of the content of a call, as it is when this is made. */
class Digest {
  /** The content, until the digest is made of it. */
  #json: JsonContent | undefined;
  /** Thrown by `prepare`. */
  #error: unknown;
  #pending: PendingDigest;

  /** Made when it is first needed, where that needs no promise. */
  static ofJson(json: JsonContent): Digest {
    const digest = new Digest();
    if (isSha256Synchronous) digest.#json = json;
    else digest.#pending = digestOfJson(valueOf(json));
    return digest;
  }

  /** Made now, because the caller may change the content. */
  static ofContent(content: unknown): Digest {
    const digest = new Digest();
    try {
      digest.#pending = digestOfContent(content);
      if (isPromise(digest.#pending)) digest.#pending.catch(() => undefined);
    } catch (error) {
      digest.#error = error;
    }
    return digest;
  }

  /** `INVALID_VALUE` for content that cannot be stored. */
  prepare(): Promise<void> | undefined {
    if (this.#error !== undefined) throw this.#error as Error;
    const pending = this.#pending;
    return isPromise(pending) ? pending.then((made) => void (this.#pending = made)) : undefined;
  }

  /** After `prepare`; undefined where repeats are not compared. */
  get text(): string | undefined {
    if (this.#json !== undefined) {
      this.#pending = digestOfJson(valueOf(this.#json));
      this.#json = undefined;
    }
    return this.#pending as string | undefined;
  }
}

const valueOf = (json: JsonContent): unknown => (typeof json === 'string' ? JSON.parse(json) : json.value);

/** The digest of what a repeat is compared by; `INVALID_VALUE` for what cannot be stored. */
export function digestOfContent(content: unknown): PendingDigest {
  if (content === undefined) return undefined;
  const encoded = encodeValue(content, () => 'The content of an idempotent call', { schemaVersion: 1 });
  return digestOfJson(jsonOf(encoded));
}

function digestOfJson(json: unknown): string | Promise<string> {
  const hash = sha256(JSON.stringify(sorted(json)));
  return isPromise(hash) ? hash.then((hex) => `${digestName}:${hex}`) : `${digestName}:${hash}`;
}

/**
 * With sorted properties: their order does not count. A copy, because one JSON.stringify of it
 * takes half the time of a text that is put together.
 */
function sorted(json: unknown): unknown {
  if (typeof json !== 'object' || json === null) return json;
  if (Array.isArray(json)) return json.map(sorted);
  const record = json as Record<string, unknown>;
  const copy: Record<string, unknown> = {};
  for (const name of sortedNames(record)) {
    const value = record[name];
    const item = typeof value === 'object' ? sorted(value) : value;
    if (name === '__proto__') Object.defineProperty(copy, name, { value: item, enumerable: true });
    else copy[name] = item;
  }
  return copy;
}

/** Of more names, `sort` is faster. */
const insertedMax = 16;

/** By insertion: `sort` takes three times as long for the few properties that most objects have. */
function sortedNames(record: object): readonly string[] {
  const names = Object.keys(record);
  if (names.length > insertedMax) return names.sort();
  for (let index = 1; index < names.length; index += 1) {
    const name = names[index] as string;
    let at = index;
    for (; at > 0 && (names[at - 1] as string) > name; at -= 1) names[at] = names[at - 1] as string;
    names[at] = name;
  }
  return names;
}
