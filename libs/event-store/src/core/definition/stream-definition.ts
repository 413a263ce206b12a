/**
 * What a stream type is: declared once, by `defineStream`. The definition is the token and the type
 * at once.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { StateOf } from '@kvent/key-value-storage/core';
import { invalidOption } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  assertWithin,
  inspect,
  encodeText,
  outOfRange,
} from '@kvent/key-value-storage/internal';

export type { StateOf };

/** A known event type. `~event` exists for the compiler alone. */
export interface EventSpec<D> {
  readonly '~event'?: D;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a map of unlike specs
export type EventMap = Readonly<Record<string, StandardSchemaV1 | EventSpec<any>>>;
type DataIn<Spec> = Spec extends StandardSchemaV1
  ? StandardSchemaV1.InferOutput<Spec>
  : Spec extends EventSpec<infer D>
    ? D
    : never;
type EventsIn<M> = {
  [K in keyof M & string]: [DataIn<M[K]>] extends [undefined]
    ? { readonly type: K; readonly data?: undefined }
    : { readonly type: K; readonly data: DataIn<M[K]> };
}[keyof M & string];

/** Made by `defineStream`. */
export interface StreamDefinition<State, Event> {
  readonly kind: 'stream';
  readonly type: string;
  readonly '~type'?: State;
  readonly '~event'?: Event;
}
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a bound
export type AnyStream = StreamDefinition<any, any>;
/** The events of a definition, or of a map of events. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a bound
export type EventOf<D> = D extends StreamDefinition<any, infer E> ? E : EventsIn<D>;

type Upcast = Readonly<Record<number, (older: unknown) => unknown>>;

/** An event type, defaults filled in. */
export interface ResolvedEvent extends EventSpec<unknown> {
  readonly schema: StandardSchemaV1 | undefined;
  readonly schemaVersion: number;
  readonly upcast: Upcast;
}

/** An event as users write it, and as `evolve` sees it. */
export interface AnyEvent {
  readonly type: string;
  readonly data?: unknown;
}

/** Everything of a stream type, defaults filled in: what the store works by. */
export interface ResolvedStream extends StreamDefinition<unknown, AnyEvent> {
  /** The type, encoded: the containers are called by it. */
  readonly name: string;
  readonly events: ReadonlyMap<string, ResolvedEvent>;
  readonly initial: () => unknown;
  readonly evolve: (state: unknown, event: AnyEvent) => unknown;
  readonly snapshot: { readonly every: number | undefined; readonly schemaVersion: number };
  readonly scope: 'tenant' | 'shared' | undefined;
  readonly provider: string | undefined;
}

export interface SnapshotOptions {
  /** A snapshot is written when an append crosses a multiple of it. */
  readonly every: number;
  /**
   * Raise it when `evolve` or the state's shape changes: older snapshots are then ignored. @default
   * 1
   */
  readonly schemaVersion?: number;
}

/**
 * A known event type: without data, with data of a type that only the compiler knows, or with data
 * that a schema checks. With `schemaVersion` and `upcast` (`{ 1: v1 => v2 }`), data written by an
 * older version are lifted when they are read; a missing step is `INVALID_OPTION` at once.
 */
export function event(): EventSpec<undefined>;
export function event<D>(): EventSpec<D>;
export function event<S extends StandardSchemaV1>(
  schema: S,
  options: {
    readonly schemaVersion: number;
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- yesterday's shape has no type today
    readonly upcast: Readonly<Record<number, (older: any) => unknown>>;
  },
): EventSpec<StandardSchemaV1.InferOutput<S>>;
export function event(
  schema?: StandardSchemaV1,
  options: { readonly schemaVersion?: number; readonly upcast?: Upcast } = {},
): EventSpec<unknown> {
  assertOptions('event', options, ['schemaVersion', 'upcast']);
  const { schemaVersion = 1, upcast = {} } = options;
  if (schema !== undefined && !isSchema(schema))
    throw invalidOption(`event takes a Standard Schema; given was ${inspect(schema)}.`);
  assertVersion('event', 'schemaVersion', schemaVersion);
  assertSteps(schemaVersion, upcast);
  const resolved: ResolvedEvent = { schema, schemaVersion, upcast };
  return Object.freeze(resolved);
}

/**
 * Declares a type of streams: its events, what a stream is before the first of them, and how each
 * changes it. `type` is where the data live, so it is explicit. `INVALID_OPTION` for a blank type,
 * a bad option, or an upcast with a missing step.
 */
export function defineStream<State, M extends EventMap>(
  type: string,
  options: {
    /** Every type the stream may hold. Anything else found in it stops the load. */
    readonly events: M;
    readonly initial: () => State;
    /** Pure. What it needs, the time included, is in `event.data`. */
    readonly evolve: (state: State, event: EventsIn<M>) => State;
    readonly snapshot?: SnapshotOptions;
    /** Whose data it is. @default 'tenant' where a tenancy is set, else 'shared' */
    readonly scope?: 'tenant' | 'shared';
    /** The name of one of `forRoot({ providers })`. @default the main provider */
    readonly provider?: string;
  },
): StreamDefinition<State, EventsIn<M>> {
  const where = `defineStream (${inspect(type)})`;
  if (typeof type !== 'string' || type.trim() === '')
    throw invalidOption(`${where}: the type of a stream is a text that is not blank.`);
  assertOptions(where, options, ['events', 'initial', 'evolve', 'snapshot', 'scope', 'provider']);
  const { events, initial, evolve, snapshot, scope, provider } = options;
  for (const [name, given] of Object.entries({ initial, evolve })) {
    if (typeof given !== 'function')
      throw invalidOption(`${where}: ${name} is a function; given was ${inspect(given)}.`);
  }
  if (scope !== undefined && scope !== 'tenant' && scope !== 'shared')
    throw invalidOption(`${where}: scope is 'tenant' or 'shared'; given was ${inspect(scope)}.`);
  const name = encodeText(type);
  assertWithin('containerBytesMax', `snapshot:${name}`, 'stream type');
  const resolved: ResolvedStream = {
    kind: 'stream',
    type,
    name,
    events: resolveEvents(where, events),
    initial,
    // the compiler has checked it against the events of the map
    evolve: evolve as ResolvedStream['evolve'],
    snapshot: resolveSnapshot(where, snapshot),
    scope,
    provider,
  };
  return Object.freeze(resolved) as StreamDefinition<State, EventsIn<M>>;
}

/** The definition that `defineStream` answered; `INVALID_OPTION` for anything else. */
export function streamOf(definition: unknown): ResolvedStream {
  if (
    typeof definition === 'object' &&
    definition !== null &&
    (definition as { kind?: unknown }).kind === 'stream' &&
    'evolve' in definition
  )
    return definition as ResolvedStream;
  throw invalidOption(`A stream is what defineStream answered; given was ${inspect(definition)}.`);
}

function resolveEvents(where: string, events: unknown): ReadonlyMap<string, ResolvedEvent> {
  if (typeof events !== 'object' || events === null || Object.keys(events).length === 0)
    throw invalidOption(
      `${where}: events is an object with at least one event type; given was ${inspect(events)}.`,
    );
  return new Map(
    Object.entries(events).map(([type, spec]: [string, unknown]) => {
      if (isResolved(spec)) return [type, spec];
      if (isSchema(spec)) return [type, { schema: spec, schemaVersion: 1, upcast: {} }];
      throw invalidOption(
        `${where}: the event '${type}' is event(…) or a Standard Schema; given was ${inspect(spec)}.`,
      );
    }),
  );
}

const isResolved = (spec: unknown): spec is ResolvedEvent =>
  typeof spec === 'object' && spec !== null && 'upcast' in spec && 'schemaVersion' in spec;

/** ArkType's schemas are functions. */
const isSchema = (spec: unknown): spec is StandardSchemaV1 =>
  ((typeof spec === 'object' && spec !== null) || typeof spec === 'function') && '~standard' in spec;

function resolveSnapshot(where: string, snapshot: SnapshotOptions | undefined): ResolvedStream['snapshot'] {
  if (snapshot === undefined) return { every: undefined, schemaVersion: 1 };
  assertOptions(`${where}: snapshot`, snapshot, ['every', 'schemaVersion']);
  const { every, schemaVersion = 1 } = snapshot;
  assertVersion(`${where}: snapshot`, 'every', every);
  assertVersion(`${where}: snapshot`, 'schemaVersion', schemaVersion);
  return { every, schemaVersion };
}

/** A whole number from 1: versions, and how often snapshots are written. */
export function assertVersion(owner: string, name: string, given: unknown): asserts given is number {
  if (Number.isSafeInteger(given) && (given as number) >= 1) return;
  throw invalidOption(`${owner}: ${name} is a whole number from 1; given was ${inspect(given)}.`);
}

/**
 * The same for a version or a number of events that a client may have asked for: `OUT_OF_RANGE`
 * where it is a number.
 */
export function assertAskedVersion(owner: string, name: string, given: unknown): asserts given is number {
  if (typeof given !== 'number') return assertVersion(owner, name, given);
  if (!(Number.isSafeInteger(given) && given >= 1))
    throw outOfRange(`${owner}: ${name} is a whole number from 1; given was ${inspect(given)}.`);
}

function assertSteps(schemaVersion: number, upcast: Upcast): void {
  const needed = Array.from({ length: schemaVersion - 1 }, (_, index) => String(index + 1));
  const missing = needed.filter((step) => typeof upcast[Number(step)] !== 'function');
  if (missing.length > 0)
    throw invalidOption(
      `event: schemaVersion ${schemaVersion} needs a function upcast for version ${missing.join(', ')}.`,
    );
  const extra = Object.keys(upcast).filter((step) => !needed.includes(step));
  if (extra.length > 0)
    throw invalidOption(
      `event: upcast from version ${extra.join(', ')} leads beyond schemaVersion ${schemaVersion}.`,
    );
}
