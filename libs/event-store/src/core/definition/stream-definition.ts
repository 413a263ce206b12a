/**
 * `defineStream` declares a stream type. The definition is both the injection token and the type.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { StateOf } from '@kvent/key-value-storage/core';
import { invalidOption } from '@kvent/key-value-storage/provider';
import {
  assertOptions,
  assertUpcast,
  assertWithin,
  callSiteOf,
  inspect,
  isSchema,
  encodeText,
  located,
  outOfRange,
  type Upcast,
} from '@kvent/key-value-storage/internal';
import { streamContainers, type StreamContainers } from './stream-containers.js';

export type { StateOf };

/**
 * A declared event type: its data as they are stored, and as they are given. `~event` and `~input`
 * exist only for the compiler.
 */
export interface EventSpec<D, I = D> {
  readonly '~event'?: D;
  readonly '~input'?: I;
}

// oxlint-disable-next-line typescript/no-explicit-any -- specs of any data
export type EventMap = Readonly<Record<string, StandardSchemaV1 | EventSpec<any>>>;
type DataOf<Spec> = Spec extends StandardSchemaV1
  ? StandardSchemaV1.InferOutput<Spec>
  : Spec extends EventSpec<infer D, unknown>
    ? D
    : never;
type DataInputOf<Spec> = Spec extends StandardSchemaV1
  ? StandardSchemaV1.InferInput<Spec>
  : Spec extends EventSpec<unknown, infer I>
    ? I
    : never;
type EventsOf<M> = {
  [K in keyof M & string]: [DataOf<M[K]>] extends [undefined]
    ? { readonly type: K; readonly data?: undefined }
    : { readonly type: K; readonly data: DataOf<M[K]> };
}[keyof M & string];
type EventInputsOf<M> = {
  [K in keyof M & string]: undefined extends DataInputOf<M[K]>
    ? { readonly type: K; readonly data?: DataInputOf<M[K]> }
    : { readonly type: K; readonly data: DataInputOf<M[K]> };
}[keyof M & string];

/** Returned by `defineStream`. */
export interface StreamDefinition<State, Event, Input = Event> {
  readonly kind: 'stream';
  readonly type: string;
  readonly '~type'?: State;
  readonly '~event'?: Event;
  readonly '~input'?: Input;
}
// oxlint-disable-next-line typescript/no-explicit-any -- a bound
export type AnyStream = StreamDefinition<any, any, any>;
/** The events of a definition, or of a map of events, as they are read. */
// oxlint-disable-next-line typescript/no-explicit-any -- a bound
export type EventOf<D> = D extends StreamDefinition<any, infer E, any> ? E : EventsOf<D>;
/** The same as they are appended: the schemas add defaults, and convert. */
// oxlint-disable-next-line typescript/no-explicit-any -- a bound
export type EventInputOf<D> = D extends StreamDefinition<any, any, infer I> ? I : EventInputsOf<D>;

/** An event type with its defaults. */
export interface ResolvedEvent extends EventSpec<unknown> {
  readonly schema: StandardSchemaV1 | undefined;
  readonly schemaVersion: number;
  readonly upcast: Upcast;
}

/** An event as applications write it and as `evolve` receives it. */
export interface AnyEvent {
  readonly type: string;
  readonly data?: unknown;
}

/** A stream type with its defaults, as the event store uses it. */
export interface ResolvedStream extends StreamDefinition<unknown, AnyEvent> {
  /** The encoded type: a part of the names of containers. */
  readonly name: string;
  /** Made once: a container is a part of the address of each event. */
  readonly containers: StreamContainers;
  readonly events: ReadonlyMap<string, ResolvedEvent>;
  readonly initial: () => unknown;
  readonly evolve: (state: unknown, event: AnyEvent) => unknown;
  readonly snapshot: { readonly every: number | undefined; readonly schemaVersion: number };
  readonly scope: 'tenant' | 'shared' | undefined;
  readonly provider: string | undefined;
  /** Whether its events are in the feed. */
  readonly feed: boolean;
}

export interface SnapshotOptions {
  /** An append that crosses a multiple of this number writes a snapshot. */
  readonly every: number;
  /**
   * Raise it when `evolve` or the shape of the state changes: older snapshots are ignored. @default
   * 1
   */
  readonly schemaVersion?: number;
}

/**
 * Declares an event type: without data, with data of a type known only to the compiler, or with
 * data that a schema validates. With `schemaVersion` and `upcast` (`{ 1: v1 => v2 }`), data of an
 * older version are converted when they are read. `INVALID_OPTION` for a missing step.
 */
export function event(): EventSpec<undefined>;
export function event<D>(): EventSpec<D>;
export function event<S extends StandardSchemaV1>(
  schema: S,
  options?: {
    readonly schemaVersion: number;
    // oxlint-disable-next-line typescript/no-explicit-any -- an older shape has no type
    readonly upcast: Readonly<Record<number, (older: any) => unknown>>;
  },
): EventSpec<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>>;
export function event(
  schema?: StandardSchemaV1,
  options: { readonly schemaVersion?: number; readonly upcast?: Upcast } = {},
): EventSpec<unknown> {
  return located(callSiteOf(event), () => resolvedEvent(schema, options));
}

function resolvedEvent(
  schema: StandardSchemaV1 | undefined,
  options: { readonly schemaVersion?: number; readonly upcast?: Upcast },
): EventSpec<unknown> {
  assertOptions('event', options, ['schemaVersion', 'upcast']);
  const { schemaVersion = 1, upcast = {} } = options;
  if (schema !== undefined && !isSchema(schema))
    throw invalidOption(`event: schema must be a Standard Schema; got ${inspect(schema)}.`);
  assertVersion('event', 'schemaVersion', schemaVersion);
  assertUpcast('event', schemaVersion, upcast);
  const resolved: ResolvedEvent = { schema, schemaVersion, upcast };
  return Object.freeze(resolved);
}

/**
 * The bound of a type parameter: so the compiler checks what `evolve` returns against the type of
 * `initial`, and never infers the type of the state from it.
 */
type EvolveFunction<State, M> = (state: State, event: EventsOf<M>) => State;

/**
 * Declares a stream type: its events, the state before the first of them, and how each one changes
 * it. `type` names the stored rows, so changing it loses the data. `INVALID_OPTION` for a blank
 * type or an option that is not allowed.
 */
export function defineStream<
  State,
  M extends EventMap,
  Evolve extends EvolveFunction<State, M> = EvolveFunction<State, M>,
>(
  type: string,
  options: {
    /** All event types of the stream. An event of another type makes loading fail. */
    readonly events: M;
    /** Its return type is the type of the state. */
    readonly initial: () => State;
    /** A pure function. What it needs, such as the time, belongs in `event.data`. */
    readonly evolve: Evolve;
    readonly snapshot?: SnapshotOptions;
    /** Whether each tenant has its own streams. @default 'tenant' with a tenancy, else 'shared' */
    readonly scope?: 'tenant' | 'shared';
    /** The name of one of `forRoot({ providers })`. @default the main provider */
    readonly provider?: string;
    /**
     * Whether its events are in the feed of the provider, for `readFeed`. Events that were appended
     * with `false` never enter it. @default true
     */
    readonly feed?: boolean;
  },
): StreamDefinition<State, EventsOf<M>, EventInputsOf<M>> {
  const resolved = located(callSiteOf(defineStream), () =>
    resolveStream(type, options as unknown as GivenStreamOptions),
  );
  return resolved as unknown as StreamDefinition<State, EventsOf<M>, EventInputsOf<M>>;
}

/** The options of a stream as the code reads them; the compiler has checked their types. */
interface GivenStreamOptions extends Pick<ResolvedStream, 'initial' | 'evolve' | 'scope' | 'provider'> {
  readonly events: unknown;
  readonly snapshot?: SnapshotOptions;
  readonly feed?: boolean;
}

function resolveStream(type: string, options: GivenStreamOptions): ResolvedStream {
  const owner = `defineStream (${inspect(type)})`;
  if (typeof type !== 'string' || type.trim() === '')
    throw invalidOption(`${owner}: type must be a string that is not blank; got ${inspect(type)}.`);
  assertOptions(owner, options, ['events', 'initial', 'evolve', 'snapshot', 'scope', 'provider', 'feed']);
  const { events, initial, evolve, snapshot, scope, provider, feed = true } = options;
  for (const [name, value] of Object.entries({ initial, evolve }))
    if (typeof value !== 'function')
      throw invalidOption(`${owner}: ${name} must be a function; got ${inspect(value)}.`);
  if (scope !== undefined && scope !== 'tenant' && scope !== 'shared')
    throw invalidOption(`${owner}: scope must be 'tenant' or 'shared'; got ${inspect(scope)}.`);
  if (typeof feed !== 'boolean')
    throw invalidOption(`${owner}: feed must be true or false; got ${inspect(feed)}.`);
  const name = encodeText(type);
  assertWithin('containerBytesMax', `snapshot:${name}`, 'stream type');
  return Object.freeze({
    kind: 'stream',
    type,
    name,
    containers: streamContainers(name),
    events: resolveEvents(owner, events),
    initial,
    // the compiler has checked it against the events of the map
    evolve,
    snapshot: resolveSnapshot(owner, snapshot),
    scope,
    provider,
    feed,
  });
}

/**
 * The definition with its defaults; `INVALID_OPTION` for anything that `defineStream` did not
 * return.
 */
export function streamDefinitionOf(definition: unknown): ResolvedStream {
  if (
    typeof definition === 'object' &&
    definition !== null &&
    (definition as { kind?: unknown }).kind === 'stream' &&
    'evolve' in definition
  )
    return definition as ResolvedStream;
  throw invalidOption(`A stream definition must come from defineStream; got ${describeWrong(definition)}.`);
}

const kindsOfStores: readonly unknown[] = ['state', 'counter', 'sharded counter'];

function describeWrong(definition: unknown): string {
  if (definition === undefined)
    return 'undefined: its file exports no such name, or two files import each other (move the definition into a file of its own)';
  const isOfStore =
    typeof definition === 'object' &&
    definition !== null &&
    'kind' in definition &&
    kindsOfStores.includes(definition.kind);
  return isOfStore || typeof definition === 'function'
    ? 'a class, a state or a counter: use KeyValueStorageModule.forFeature and @InjectStore, or storage.store(…)'
    : inspect(definition);
}

function resolveEvents(owner: string, events: unknown): ReadonlyMap<string, ResolvedEvent> {
  if (typeof events !== 'object' || events === null || Object.keys(events).length === 0)
    throw invalidOption(
      `${owner}: events must be an object with at least one event type; got ${inspect(events)}.`,
    );
  return new Map(
    Object.entries(events).map(([type, spec]: [string, unknown]) => {
      if (isResolved(spec)) return [type, spec];
      if (isSchema(spec)) return [type, { schema: spec, schemaVersion: 1, upcast: {} }];
      throw invalidOption(
        `${owner}: the event '${type}' must be event(…) or a Standard Schema; got ${inspect(spec)}.`,
      );
    }),
  );
}

const isResolved = (spec: unknown): spec is ResolvedEvent =>
  typeof spec === 'object' && spec !== null && 'upcast' in spec && 'schemaVersion' in spec;

function resolveSnapshot(owner: string, snapshot: SnapshotOptions | undefined): ResolvedStream['snapshot'] {
  if (snapshot === undefined) return { every: undefined, schemaVersion: 1 };
  assertOptions(`${owner}: snapshot`, snapshot, ['every', 'schemaVersion']);
  const { every, schemaVersion = 1 } = snapshot;
  assertVersion(`${owner}: snapshot`, 'every', every);
  assertVersion(`${owner}: snapshot`, 'schemaVersion', schemaVersion);
  return { every, schemaVersion };
}

/** `INVALID_OPTION` unless it is a whole number from 1: an option that the program chooses. */
export function assertVersion(owner: string, name: string, value: unknown): asserts value is number {
  if (!isVersion(value)) throw invalidOption(versionMessage(owner, name, value));
}

/** The same for an option that a client may have sent: `OUT_OF_RANGE` when it is a number. */
export function assertRequestedVersion(owner: string, name: string, value: unknown): asserts value is number {
  if (isVersion(value)) return;
  throw (typeof value === 'number' ? outOfRange : invalidOption)(versionMessage(owner, name, value));
}

const isVersion = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;
const versionMessage = (owner: string, name: string, value: unknown): string =>
  `${owner}: ${name} must be a whole number from 1; got ${inspect(value)}.`;
