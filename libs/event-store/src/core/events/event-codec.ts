/**
 * Encodes events: validated by their schema, checked against the limits. Decodes stored events to
 * frozen records, with data of an older schemaVersion converted.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { isStorageError } from '@kvent/key-value-storage/core';
import { invalidOption, type Row, type StoredValue } from '@kvent/key-value-storage/provider';
import {
  assertAtMost,
  assertOptions,
  assertWithin,
  decodeStored,
  EncodedJson,
  inspect,
  encodeValue,
  invalidValue,
  isPromise,
  refusedPromise,
  upcastFrom,
  utf8Length,
  validate,
  type CommittedBatch,
  type EncodedValue,
} from '@kvent/key-value-storage/internal';
import type { EventMetadata, Recorded } from '../definition/event-stream.js';
import type { AnyEvent, ResolvedEvent, ResolvedStream } from '../definition/stream-definition.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamRows } from '../rows/stream-rows.js';

/** An event as it is stored, and as `evolve` receives it. */
export class EncodedEvent {
  readonly stored: StoredValue;
  readonly metadata: EventMetadata | undefined;
  readonly schemaVersion: number;
  readonly #encoded: EncodedValue;
  #event: AnyEvent | undefined;

  constructor(encoded: EncodedValue, metadata: EventMetadata | undefined, schemaVersion: number) {
    this.stored = new EncodedJson(encoded.text);
    this.metadata = metadata;
    this.schemaVersion = schemaVersion;
    this.#encoded = encoded;
  }

  /** As JSON text without its metadata; only of a type without schema, whose version is 1. */
  get given(): string {
    const { text } = this.#encoded;
    if (this.metadata === undefined) return text;
    const { type, data } = JSON.parse(text) as AnyEvent;
    return JSON.stringify(eventOf(type, data));
  }

  /** Frozen. Made when it is first read: an append alone does not need it. */
  get event(): AnyEvent {
    if (this.#event === undefined) {
      const { type, data } = this.#encoded.value as AnyEvent;
      this.#event = Object.freeze(eventOf(type, data));
    }
    return this.#event;
  }
}

/** What makes an event a recorded one; `rowVersion` is the version of its batch. */
interface EventPosition {
  readonly version: number;
  readonly rowVersion: string;
  readonly recordedAt: number;
}

/** Committed events, and the version of the stream before them. */
export interface AppendedEvents {
  readonly before: number;
  readonly events: readonly EncodedEvent[];
  readonly commit: CommittedBatch;
}

export type EncodedEvents = readonly EncodedEvent[] | Promise<readonly EncodedEvent[]>;

/**
 * Encodes events as they are at the call: what the caller changes later is not stored. Returns a
 * promise only when a schema validates asynchronously. `INVALID_VALUE` has the issues of the schema
 * or the path of a value that cannot be stored; `INVALID_OPTION` for an unknown type,
 * and for a schema that throws; `LIMIT_EXCEEDED` for an event above 900 KB.
 */
export function encodeEvents(
  definition: ResolvedStream,
  events: readonly AnyEvent[],
  metadata: EventMetadata | undefined,
): EncodedEvents {
  if (!Array.isArray(events)) throw invalidOption(`Events must be an array; got ${inspect(events)}.`);
  const encoded = (events as readonly AnyEvent[]).map((event, index) =>
    encodeEvent(definition, event, index, metadata),
  );
  if (!encoded.some(isPromise)) return encoded as readonly EncodedEvent[];
  return Promise.all(encoded.map(async (event) => await event));
}

function encodeEvent(
  definition: ResolvedStream,
  event: AnyEvent,
  index: number,
  metadata: EventMetadata | undefined,
): EncodedEvent | Promise<EncodedEvent> {
  if (typeof event !== 'object' || (event as unknown) === null || typeof event.type !== 'string')
    throw invalidOption(`Event ${index} must be an object with a type; got ${inspect(event)}.`);
  for (const name in event)
    if (name !== 'type' && name !== 'data') assertOptions(`Event ${index}`, event, ['type', 'data']);
  const { type, data } = event;
  const what = (): string => `event ${index} (${type}) of ${definition.type}`;
  const spec = definition.events.get(type);
  if (spec === undefined) {
    const known = [...definition.events.keys()].join(', ');
    throw invalidOption(`A stream of type ${definition.type} has no event '${type}'; it has ${known}.`);
  }
  const { schema, schemaVersion } = spec;
  if (schema === undefined) return encodeData(type, data, metadata, spec, what);
  const encodeResult = (result: StandardSchemaV1.Result<unknown>): EncodedEvent => {
    if (result.issues !== undefined) throw invalidValue(what(), result.issues);
    return encodeData(type, result.value, metadata, spec, what);
  };
  const result = validate(schema, data, what);
  if (!isPromise(result)) return encodeResult(result);
  result.then(undefined, () => undefined);
  // validated again on a copy: the caller may change the data while they are being validated
  const copy = data === undefined ? data : encodeValue(data, what, { schemaVersion }).value;
  const encoded = Promise.resolve(validate(schema, copy, what)).then(encodeResult);
  // handled here too: another event of the same call may throw first
  encoded.catch(() => undefined);
  return encoded;
}

function encodeData(
  type: string,
  data: unknown,
  metadata: EventMetadata | undefined,
  spec: ResolvedEvent,
  what: () => string,
): EncodedEvent {
  const event = eventOf(type, data);
  const encoded = encodeValue(metadata === undefined ? event : { ...event, metadata }, what, spec);
  assertWithin('valueBytesMax', encoded.text, what);
  return new EncodedEvent(encoded, metadata, spec.schemaVersion);
}

/**
 * The content of an append as JSON text, for the comparison of repeats, made of what was encoded: a
 * second encoding was half the time of the record. Undefined where a schema may have added to what
 * the caller gave.
 */
export function givenEvents(
  { events: specs }: ResolvedStream,
  events: readonly AnyEvent[],
  encoded: EncodedEvents,
): string | undefined {
  if (isPromise(encoded) || events.some(({ type }) => specs.get(type)?.schema !== undefined))
    return undefined;
  return `[[${encoded.map((event) => event.given).join(',')}]]`;
}

/**
 * Merges the metadata that the event store adds with the caller's, which take precedence.
 * `INVALID_OPTION` for other names, `LIMIT_EXCEEDED` above 16 KB.
 */
export function metadataOf(
  added: EventMetadata | undefined,
  given: EventMetadata | undefined,
): EventMetadata | undefined {
  if (added === undefined && given === undefined) return undefined;
  for (const metadata of [added, given]) assertMetadata(metadata);
  const extensions = added?.extensions && given?.extensions && { ...added.extensions, ...given.extensions };
  const merged = { ...added, ...given, ...(extensions !== undefined && { extensions }) };
  const entries = Object.entries(merged).filter(([, value]) => value !== undefined);
  if (entries.length === 0) return undefined;
  const metadata = Object.fromEntries(entries) as EventMetadata;
  assertAtMost('eventMetadataBytesMax', utf8Length(JSON.stringify(metadata)), 'bytes of metadata');
  return metadata;
}

function assertMetadata(metadata: EventMetadata | undefined): void {
  if (isPromise<unknown>(metadata)) throw refusedPromise('metadata', metadata);
  assertOptions('metadata', metadata, ['correlationId', 'causationId', 'userId', 'extensions']);
  const { extensions = {}, ...others } = metadata ?? {};
  assertOptions('metadata.extensions', extensions, Object.keys(extensions));
  for (const [name, value] of [...Object.entries(others), ...Object.entries(extensions)])
    if (value !== undefined && typeof value !== 'string')
      throw invalidOption(`metadata: ${name} must be a string; got ${inspect(value)}.`);
}

export const recordedEvents = (
  rows: StreamRows,
  { before, events, commit: { version: rowVersion, time: recordedAt } }: AppendedEvents,
): readonly Recorded<AnyEvent>[] =>
  events.map(({ event: { type, data }, metadata, schemaVersion }, index) =>
    recorded({ schemaVersion, type, data, metadata }, data, rows, {
      version: before + index + 1,
      rowVersion,
      recordedAt,
    }),
  );

function recorded(
  { type, metadata: own, schemaVersion }: StoredEvent,
  data: unknown,
  rows: StreamRows,
  { version, rowVersion, recordedAt: at }: EventPosition,
): Recorded<AnyEvent> {
  const id = rows.eventId(rowVersion, version);
  const recordedAt = new Date(at);
  const metadata = rows.recordedMetadata(own, schemaVersion);
  const { id: stream, tenant } = rows;
  // plain literals, for speed: one read makes thousands of these
  if (tenant === undefined)
    return Object.freeze(
      data === undefined
        ? { type, id, stream, version, recordedAt, metadata }
        : { type, data, id, stream, version, recordedAt, metadata },
    );
  return Object.freeze(
    data === undefined
      ? { type, id, stream, tenant, version, recordedAt, metadata }
      : { type, data, id, stream, tenant, version, recordedAt, metadata },
  );
}

/**
 * Decodes the event of a row. Returns a promise only when a schema validates converted data
 * asynchronously. `EVENT_UNKNOWN_TYPE` or `EVENT_UNREADABLE`, with stream and version.
 */
export function decodeRecorded(
  rows: StreamRows,
  version: number,
  row: Row,
): Recorded<AnyEvent> | Promise<Recorded<AnyEvent>> {
  const stored = parseEvent(rows, version, row);
  const data = currentData(rows, version, stored);
  const at = { version, rowVersion: row.version, recordedAt: row.updatedAt };
  return isPromise(data)
    ? Promise.resolve(data).then((current) => recorded(stored, current, rows, at))
    : recorded(stored, data, rows, at);
}

/** The same without what only readers need: for a fold. */
export function decodeEvent(rows: StreamRows, version: number, row: Row): AnyEvent | Promise<AnyEvent> {
  const stored = parseEvent(rows, version, row);
  const data = currentData(rows, version, stored);
  return isPromise(data)
    ? Promise.resolve(data).then((current) => eventOf(stored.type, current))
    : eventOf(stored.type, data);
}

const eventOf = (type: string, data: unknown): AnyEvent => (data === undefined ? { type } : { type, data });

/** The data in the form of the current schemaVersion. */
function currentData(rows: StreamRows, version: number, stored: StoredEvent): unknown {
  const { type, schemaVersion, data } = stored;
  const spec = rows.definition.events.get(type);
  if (spec === undefined) {
    const known = [...rows.definition.events.keys()].join(', ');
    const message = `Event ${version} of ${rows.name} has the type '${type}', which this program does not know; it knows ${known}.`;
    throw streamError('EVENT_UNKNOWN_TYPE', message, { stream: rows.path, version, type });
  }
  return schemaVersion === spec.schemaVersion
    ? data
    : upcastData(rows, version, type, spec, schemaVersion, data);
}

interface StoredEvent {
  readonly schemaVersion: number;
  readonly type: string;
  readonly data: unknown;
  readonly metadata: EventMetadata | undefined;
}

function parseEvent(rows: StreamRows, version: number, { value }: Row): StoredEvent {
  if (value.kind !== 'json') throw unreadable(rows, version, `it is ${value.kind}, not JSON`);
  let stored: ReturnType<typeof decodeStored>;
  try {
    stored = decodeStored(value);
  } catch (cause) {
    throw unreadable(rows, version, 'it is not JSON that Kvent wrote', cause);
  }
  const { type, data, metadata } = (
    typeof stored.value === 'object' && stored.value !== null ? stored.value : {}
  ) as Partial<StoredEvent>;
  if (typeof type !== 'string') throw unreadable(rows, version, 'it has no type');
  return { schemaVersion: stored.schemaVersion, type, data, metadata };
}

/** Converts data of an older schemaVersion step by step, and validates the result. */
function upcastData(
  rows: StreamRows,
  version: number,
  type: string,
  spec: ResolvedEvent,
  from: number,
  older: unknown,
): unknown {
  const { schemaVersion, upcast, schema } = spec;
  if (!(from < schemaVersion))
    throw unreadable(
      rows,
      version,
      `it has schemaVersion ${from}, and this program knows ${schemaVersion}`,
      undefined,
      type,
    );
  const failed = (cause: unknown) =>
    unreadable(
      rows,
      version,
      `its upcast from schemaVersion ${from} to ${schemaVersion} failed`,
      cause,
      type,
    );
  const validated = (result: StandardSchemaV1.Result<unknown>): unknown => {
    if (result.issues !== undefined)
      throw failed(invalidValue(`event ${version} of ${rows.name}`, result.issues));
    return result.value;
  };
  try {
    const data = upcastFrom(from, schemaVersion, upcast, older);
    const result = schema?.['~standard'].validate(data);
    if (result === undefined) return data;
    if (!isPromise(result)) return validated(result);
    return Promise.resolve(result).then(validated, (cause: unknown) => {
      throw failed(cause);
    });
  } catch (cause) {
    throw isStorageError(cause, 'EVENT_UNREADABLE') ? cause : failed(cause);
  }
}

const unreadable = (rows: StreamRows, version: number, reason: string, cause?: unknown, type?: string) =>
  streamError(
    'EVENT_UNREADABLE',
    `Event ${version}${type === undefined ? '' : ` (${type})`} of ${rows.name} cannot be read: ${reason}.`,
    { stream: rows.path, version, type },
    { cause },
  );
