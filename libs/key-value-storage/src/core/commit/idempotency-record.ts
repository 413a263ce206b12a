/**
 * Idempotency marks: rows beside the data, written in the same batch, with a time to live. A repeat
 * finds the mark of the first call, and is given the first answer. Only what succeeded leaves one.
 * A mark shares the version of its batch, so a replay knows the etags of the first answer.
 */
import type { Contribution } from './commit.js';
import { Participant, type ObservedRows, type Verdict } from './participant.js';
import type { StorageAccess } from './storage-access.js';
import { encodeValue, parseStored, reviveFrozen } from '../encoding/codec.js';
import { storageError } from '../base/errors.js';
import { assertWithin } from '../base/assert-limits.js';
import { inspect } from '../base/inspect.js';
import { invalidOption } from '../base/options.js';
import type { Address, Row, RowAddress } from '../port/storage-provider.js';
import { encodeText } from '../encoding/text-encoding.js';

/** What `@IdempotencyKey()` gives: the key, and the content that a repeat is compared by. */
export abstract class IdempotentCall {
  readonly key: string;
  readonly content: unknown;

  constructor(key: string, content: unknown) {
    this.key = key;
    this.content = content;
  }
}

/** How long marks stay, unless told otherwise: a day. */
export const defaultIdempotencyRetentionMs = 24 * 60 * 60 * 1_000;

/**
 * The key, and what a repeat is compared by: the content given with the key, else `own`, the
 * caller's arguments; `undefined`: not compared.
 */
interface Idempotency {
  readonly key: string;
  readonly content: unknown;
}

/**
 * What the option `idempotencyKey` asks for; `IDEMPOTENCY_KEY_REQUIRED` for a blank text,
 * `INVALID_OPTION` for what is no text, `LIMIT_EXCEEDED` above 255 bytes.
 */
export function idempotencyOf(
  given: string | IdempotentCall | undefined,
  own?: unknown,
): Idempotency | undefined {
  if (given === undefined) return undefined;
  const call =
    typeof given === 'object' && (given as unknown) !== null ? given : { key: given, content: own };
  const { key } = call;
  if (typeof key !== 'string')
    throw invalidOption(`An idempotency key is a text that is not blank; given was ${inspect(key)}.`);
  if (key.trim() === '')
    throw storageError(
      'IDEMPOTENCY_KEY_REQUIRED',
      'An idempotency key is a text that is not blank; given was a blank one.',
      {},
    );
  assertWithin('idempotencyKeyBytesMax', key, 'idempotency key');
  return { key, content: call.content };
}

/** The row key of a mark, within its own space. */
export const idempotencyRecordKey = (idempotencyKey: string): string => encodeText(idempotencyKey);

interface IdempotencyRecordOptions {
  readonly access: StorageAccess;
  readonly address: Address;
  readonly idempotency: Idempotency;
  readonly retentionMs: number;
  /** What a replay needs to know; asked when the batch is sent. */
  readonly answer: () => unknown;
}

/** The mark of one commit, as a part of it. */
export class IdempotencyRecord extends Participant {
  readonly access: StorageAccess;
  readonly database: string;
  readonly what = 'idempotency key';
  override readonly isRecord = true;
  readonly subject: string;
  readonly reads: readonly Address[];
  readonly #options: IdempotencyRecordOptions;
  readonly #digest: Promise<string | undefined>;
  #content: string | undefined;

  constructor(options: IdempotencyRecordOptions) {
    super();
    this.access = options.access;
    this.database = options.address.database;
    this.reads = [options.address];
    this.subject = `mark ${options.address.container}\0${options.address.entity}\0${options.address.key}`;
    this.#options = options;
    this.#digest = digestOf(options.idempotency.content);
    this.#digest.catch(() => undefined);
  }

  async prepare(): Promise<void> {
    this.#content = await this.#digest;
  }

  contribution(): Contribution {
    const { address, retentionMs, answer } = this.#options;
    const what = 'the record of an idempotency key';
    const { text } = encodeValue({ content: this.#content ?? null, answer: answer() ?? null }, () => what, {
      schemaVersion: 1,
    });
    assertWithin('valueBytesMax', text, what);
    const row: RowAddress = address;
    return {
      checks: [{ address: row, expected: 'absent' }],
      changes: [{ kind: 'put', address: row, value: { kind: 'json', text }, ttl: retentionMs }],
    };
  }

  content(): unknown {
    return this.#options.idempotency.key;
  }

  evaluate({ rows: [row] }: ObservedRows): Verdict {
    if (row === undefined) return { outcome: 'proceed' };
    const { key } = this.#options.idempotency;
    if (isSameContent(idempotencyRecordIn(row).content, this.#content)) return { outcome: 'replayed', row };
    const message = `The idempotency key ${inspect(key)} was used for something else; expected was the same content again.`;
    return {
      outcome: 'reject',
      error: storageError('IDEMPOTENCY_CONFLICT', message, { idempotencyKey: key }),
    };
  }
}

/** What a mark holds. `STORAGE_CORRUPT` where it cannot be read back. */
export function idempotencyRecordIn(row: Row): { readonly content: string | null; readonly answer: unknown } {
  try {
    if (row.value.kind !== 'json') throw new SyntaxError('it is no JSON');
    return reviveFrozen(parseStored(row.value.text).json, true).value as ReturnType<
      typeof idempotencyRecordIn
    >;
  } catch (cause) {
    throw storageError(
      'STORAGE_CORRUPT',
      'An idempotency mark cannot be read back.',
      { place: 'mark' },
      { cause },
    );
  }
}

/** Digests of another algorithm are not compared: a new release never turns a repeat away. */
function isSameContent(first: string | null, now: string | undefined): boolean {
  if (first === null || now === undefined) return true;
  const algorithmOf = (digest: string): string => digest.slice(0, digest.indexOf(':'));
  return algorithmOf(first) !== algorithmOf(now) || first === now;
}

/**
 * Raise its name with what the arguments of a call are taken to be: a digest under another name is
 * not compared.
 */
const digestName = 'sha256-2';

async function digestOf(content: unknown): Promise<string | undefined> {
  if (content === undefined) return undefined;
  const { text } = encodeValue(content, () => 'The content of an idempotent call', { schemaVersion: 1 });
  const bytes = new TextEncoder().encode(canonical(JSON.parse(text)));
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return `${digestName}:${Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** JSON with the properties in the order of their names: two orders are one content. */
function canonical(json: unknown): string {
  if (typeof json !== 'object' || json === null) return JSON.stringify(json);
  if (Array.isArray(json)) return `[${json.map(canonical).join(',')}]`;
  const record = json as Record<string, unknown>;
  const members = Object.keys(record)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical(record[name])}`);
  return `{${members.join(',')}}`;
}
