/**
 * Idempotency records: rows beside the data, written in the same batch, with a time to live. A
 * repeat finds the record of the first call and returns its result. Only a commit that succeeded
 * leaves one. It has the version of its batch, so a replay knows the etags of the first result.
 */
import type { Contribution } from './commit.js';
import { Participant, type ObservedRows, type Verdict } from './participant.js';
import type { StorageAccess } from './storage-access.js';
import { encodeValue, jsonOf, parseStored, reviveFrozen } from '../encoding/codec.js';
import { sha256 } from '../encoding/sha256.js';
import { storageError } from '../base/errors.js';
import { assertWithin } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import { isPromise } from '../base/kinds.js';
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

interface IdempotencyRecordOptions {
  readonly access: StorageAccess;
  readonly address: Address;
  readonly idempotency: Idempotency;
  readonly retentionMs: number;
  /** In place of the content, where it is JSON already: it needs no encoding. */
  readonly json?: unknown;
  /** What a replay returns; called when the batch is sent. */
  readonly result: () => unknown;
}

/** The record of one commit, as a participant of it. */
export class IdempotencyRecord extends Participant {
  readonly access: StorageAccess;
  readonly database: string;
  readonly what = 'idempotency key';
  override readonly isRecord = true;
  readonly subject: string;
  readonly reads: readonly Address[];
  readonly #options: IdempotencyRecordOptions;
  /** Of the content as it is at the call. */
  readonly #digest: string | undefined | Promise<string | undefined>;
  #content: string | undefined;

  constructor(options: IdempotencyRecordOptions) {
    super();
    this.access = options.access;
    this.database = options.address.database;
    this.reads = [options.address];
    this.subject = `record ${rowNameOf(options.address)}`;
    this.#options = options;
    try {
      const { json, idempotency } = options;
      this.#digest = json === undefined ? digestOfContent(idempotency.content) : digestOfJson(json);
    } catch (error) {
      this.#digest = (async () => {
        throw error;
      })();
    }
    // thrown by `prepare`
    if (isPromise(this.#digest)) this.#digest.catch(() => undefined);
  }

  prepare(): Promise<void> | undefined {
    const digest = this.#digest;
    if (isPromise(digest)) return digest.then((content) => void (this.#content = content));
    this.#content = digest;
    return undefined;
  }

  contribution(): Contribution {
    const { address, retentionMs, result } = this.#options;
    const what = 'the record of an idempotency key';
    const answer = encodeValue(result() ?? null, () => what, { schemaVersion: 1 }).text;
    const text = `{"content":${this.#content === undefined ? 'null' : `"${this.#content}"`},"answer":${answer}}`;
    assertWithin('valueBytesMax', text, what);
    return {
      checks: [{ address, expected: 'absent' }],
      changes: [{ kind: 'put', address, value: { kind: 'json', text }, ttl: retentionMs }],
    };
  }

  content(): unknown {
    return this.#options.idempotency.key;
  }

  evaluate({ rows: [row] }: ObservedRows): Verdict {
    if (row === undefined) return { outcome: 'proceed' };
    const { key } = this.#options.idempotency;
    if (isSameContent(idempotencyRecordIn(row).content, this.#content)) return { outcome: 'replayed', row };
    const message = `The idempotency key ${inspect(key)} was used for another call; a repeat must have the same content.`;
    return {
      outcome: 'reject',
      error: storageError('IDEMPOTENCY_CONFLICT', message, { idempotencyKey: key }),
    };
  }
}

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
const digestName = 'sha256-3';

/** The digest of what a repeat is compared by; `INVALID_VALUE` for what cannot be stored. */
export function digestOfContent(content: unknown): string | undefined | Promise<string> {
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
  for (const name of Object.keys(record).sort()) {
    const value = sorted(record[name]);
    if (name === '__proto__') Object.defineProperty(copy, name, { value, enumerable: true });
    else copy[name] = value;
  }
  return copy;
}
