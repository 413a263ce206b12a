/**
 * Events: from what the caller gives, through schema and codec, to what is stored; and back, lifted
 * to today's shape, as frozen records.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { isStorageError } from '@kvent/key-value-storage/core';
import { invalidOption, type Row, type StoredValue } from '@kvent/key-value-storage/provider';
import {
  assertAtMost,
  assertOptions,
  assertWithin,
  inspect,
  encodeValue,
  invalidValue,
  isPromise,
  mayHoldTags,
  parseStored,
  reviveFrozen,
  utf8Length,
} from '@kvent/key-value-storage/internal';
import type { EventMetadata, Recorded } from '../definition/event-stream.js';
import type { AnyEvent, ResolvedEvent, ResolvedStream } from '../definition/stream-definition.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamRows } from '../rows/stream-rows.js';

/** What is stored of an event, and the frozen event that `evolve` sees. */
export interface EncodedEvent {
  readonly stored: StoredValue;
  readonly event: AnyEvent;
  readonly metadata: EventMetadata | undefined;
  readonly schemaVersion: number;
}

/** Where an event landed: what makes it a recorded one. */
interface EventPosition {
  readonly version: number;
  /** Of the row: the version of its batch. */
  readonly rowVersion: string;
  readonly recordedAt: number;
}

/**
 * Checks and encodes events as they are when this is called. `INVALID_VALUE` lists a schema's
 * issues or the path of what cannot be kept, `INVALID_OPTION` names an unknown type,
 * `LIMIT_EXCEEDED` an event above 900 KB.
 */
export async function encodeEvents(
  definition: ResolvedStream,
  events: readonly AnyEvent[],
  metadata: EventMetadata | undefined,
): Promise<readonly EncodedEvent[]> {
  if (!Array.isArray(events))
    throw invalidOption(`Events are given as a list; given was ${inspect(events)}.`);
  // all of them at once: what the caller changes while one is being checked is not what is stored
  return await Promise.all(
    (events as readonly AnyEvent[]).map(
      async (event, index) => await encodeEvent(definition, event, index, metadata),
    ),
  );
}

async function encodeEvent(
  definition: ResolvedStream,
  event: AnyEvent,
  index: number,
  metadata: EventMetadata | undefined,
): Promise<EncodedEvent> {
  if (typeof event !== 'object' || (event as unknown) === null || typeof event.type !== 'string')
    throw invalidOption(`Event ${index} is an object with a type; given was ${inspect(event)}.`);
  assertOptions(`Event ${index}`, event, ['type', 'data']);
  const { type } = event;
  const what = `event ${index} (${type}) of ${definition.type}`;
  const spec = definition.events.get(type);
  if (spec === undefined) {
    const known = [...definition.events.keys()].join(', ');
    throw invalidOption(`A stream of type ${definition.type} has no event '${type}'; it has ${known}.`);
  }
  const checked =
    spec.schema === undefined ? event.data : await validated(spec.schema, event.data, what, spec);
  const record = {
    type,
    ...(checked !== undefined && { data: checked }),
    ...(metadata !== undefined && { metadata }),
  };
  const { text, value } = encodeValue(record, () => what, { schemaVersion: spec.schemaVersion });
  assertWithin('valueBytesMax', text, what);
  const { metadata: _, ...frozen } = value as AnyEvent & { readonly metadata?: EventMetadata };
  return {
    stored: { kind: 'json', text },
    event: Object.freeze(frozen),
    metadata,
    schemaVersion: spec.schemaVersion,
  };
}

async function validated(
  schema: StandardSchemaV1,
  data: unknown,
  what: string,
  { schemaVersion }: ResolvedEvent,
): Promise<unknown> {
  let result = schema['~standard'].validate(data);
  if (isPromise(result)) {
    result.then(undefined, () => undefined);
    // the caller may change the data while they are being checked: what is checked, and stored, is
    // a copy of them as they were given
    const copy = data === undefined ? data : encodeValue(data, () => what, { schemaVersion }).value;
    result = await schema['~standard'].validate(copy);
  }
  if (result.issues !== undefined) throw invalidValue(what, result.issues);
  return result.value;
}

/**
 * The metadata of an append: what the store adds, under what the caller gives. `INVALID_OPTION` for
 * other names, `LIMIT_EXCEEDED` above 16 KB.
 */
export function metadataOf(
  own: EventMetadata | undefined,
  given: EventMetadata | undefined,
): EventMetadata | undefined {
  for (const metadata of [own, given]) assertMetadata(metadata);
  const entries = Object.entries({ ...own, ...given }).filter(([, value]) => value !== undefined);
  if (entries.length === 0) return undefined;
  const metadata = Object.fromEntries(entries) as EventMetadata;
  if (own?.extensions !== undefined && given?.extensions !== undefined) {
    return bounded({ ...metadata, extensions: { ...own.extensions, ...given.extensions } });
  }
  return bounded(metadata);
}

function bounded(metadata: EventMetadata): EventMetadata {
  assertAtMost('eventMetadataBytesMax', utf8Length(JSON.stringify(metadata)), 'bytes of metadata');
  return metadata;
}

const texts = ['correlationId', 'causationId', 'userId'] as const;

function assertMetadata(metadata: EventMetadata | undefined): void {
  if (typeof (metadata as { readonly then?: unknown } | undefined)?.then === 'function')
    throw invalidOption('metadata: it is made at once; given was a promise.');
  assertOptions('metadata', metadata, [...texts, 'extensions']);
  const { extensions = {}, ...given } = metadata ?? {};
  assertOptions('metadata.extensions', extensions, Object.keys(extensions));
  for (const [name, value] of [...Object.entries(given), ...Object.entries(extensions)]) {
    if (value !== undefined && typeof value !== 'string')
      throw invalidOption(`metadata: ${name} is a text; given was ${inspect(value)}.`);
  }
}

/** An event as it is in its stream. */
export function recorded(
  { event: { type, data }, metadata, schemaVersion }: Omit<EncodedEvent, 'stored'>,
  rows: StreamRows,
  { version, rowVersion, recordedAt: at }: EventPosition,
): Recorded<AnyEvent> {
  const id = `${rowVersion}-${version}`;
  const recordedAt = new Date(at);
  const described = rows.recordedMetadata(metadata, schemaVersion);
  const { id: stream, tenant } = rows;
  // plain literals: thousands of these are made for one read
  if (tenant === undefined) {
    return Object.freeze(
      data === undefined
        ? { type, id, stream, version, recordedAt, metadata: described }
        : { type, data, id, stream, version, recordedAt, metadata: described },
    );
  }
  return Object.freeze(
    data === undefined
      ? { type, id, stream, tenant, version, recordedAt, metadata: described }
      : { type, data, id, stream, tenant, version, recordedAt, metadata: described },
  );
}

/**
 * The event of a row. `EVENT_UNKNOWN_TYPE` or `EVENT_UNREADABLE`, naming stream and version. A
 * promise only where a schema checks what was lifted.
 */
export function decodeEvent(
  rows: StreamRows,
  version: number,
  row: Row,
): Recorded<AnyEvent> | Promise<Recorded<AnyEvent>> {
  const { schemaVersion, type, data, metadata } = parseEvent(rows, version, row);
  const at = { version, rowVersion: row.version, recordedAt: row.updatedAt };
  const spec = rows.definition.events.get(type);
  if (spec === undefined) {
    const known = [...rows.definition.events.keys()].join(', ');
    const message = `Event ${version} of ${rows.name} has the type '${type}', which this program does not know; it knows ${known}.`;
    throw streamError('EVENT_UNKNOWN_TYPE', message, { stream: rows.path, version, type });
  }
  if (schemaVersion === spec.schemaVersion)
    return recorded({ event: eventOf(type, data), metadata, schemaVersion }, rows, at);
  const lifted = lift(rows, version, type, spec, schemaVersion, data);
  const done = (checked: unknown): Recorded<AnyEvent> =>
    recorded({ event: eventOf(type, checked), metadata, schemaVersion }, rows, at);
  return isPromise(lifted) ? Promise.resolve(lifted).then(done) : done(lifted);
}

const eventOf = (type: string, data: unknown): AnyEvent => (data === undefined ? { type } : { type, data });

interface StoredEvent {
  readonly schemaVersion: number;
  readonly type: string;
  readonly data: unknown;
  readonly metadata: EventMetadata | undefined;
}

function parseEvent(rows: StreamRows, version: number, { value }: Row): StoredEvent {
  if (value.kind !== 'json') throw unreadable(rows, version, `it is ${value.kind}, not JSON`);
  let parsed: { readonly schemaVersion: number; readonly json: unknown };
  let record: unknown;
  try {
    parsed = parseStored(value.text);
    record = reviveFrozen(parsed.json, mayHoldTags(value.text)).value;
  } catch (cause) {
    throw unreadable(rows, version, 'it is no JSON that Kvent wrote', cause);
  }
  const { type, data, metadata } = (
    typeof record === 'object' && record !== null ? record : {}
  ) as Partial<StoredEvent>;
  if (typeof type !== 'string') throw unreadable(rows, version, 'it has no type');
  return { schemaVersion: parsed.schemaVersion, type, data, metadata };
}

/** Data of an older schemaVersion, step by step; then the schema looks at them. */
function lift(
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
      `schemaVersion ${from} wrote it, and this program knows ${schemaVersion}`,
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
  const checked = (result: StandardSchemaV1.Result<unknown>): unknown => {
    if (result.issues !== undefined)
      throw failed(invalidValue(`event ${version} of ${rows.name}`, result.issues));
    return result.value;
  };
  try {
    let data = older;
    for (let step = from; step < schemaVersion; step += 1)
      data = (upcast[step] as (given: unknown) => unknown)(data);
    const result = schema?.['~standard'].validate(data);
    if (result === undefined) return data;
    if (!isPromise(result)) return checked(result);
    return Promise.resolve(result).then(checked, (cause: unknown) => {
      throw failed(cause);
    });
  } catch (cause) {
    throw isStorageError(cause, 'EVENT_UNREADABLE') ? cause : failed(cause);
  }
}

const unreadable = (rows: StreamRows, version: number, why: string, cause?: unknown, type?: string) =>
  streamError(
    'EVENT_UNREADABLE',
    `Event ${version}${type === undefined ? '' : ` (${type})`} of ${rows.name} cannot be read back: ${why}.`,
    { stream: rows.path, version, type },
    { cause },
  );
