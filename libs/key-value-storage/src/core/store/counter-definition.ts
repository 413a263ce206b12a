/** Definitions of counters: what `defineCounter` and its relatives return. */
import { callSiteOf, located } from '../base/call-site.js';
import { inspect } from '../base/inspect.js';
import type { Key } from '../base/key.js';
import { assertOptions, invalidOption, outOfRange } from '../base/options.js';
import { resolveDefinition, type ResolvedDefinition } from './definition-options.js';
import type { KeyFrom, KeyOptions, KeySchema } from './key-schema.js';
import { definitionOf, type AnyState, type ResolvedState } from './state-definition.js';
import { counterContainer, counterSpace, shardedCounterContainer } from './state-space.js';

export interface CounterOptions<N extends number | bigint = number> {
  /**
   * Milliseconds until a counter ends, from the change that creates it. Later changes keep the
   * expiry.
   */
  readonly ttlMs?: number;
  /** No change goes below it: `COUNTER_OUT_OF_RANGE`. */
  readonly floor?: N;
  /** No change goes above it: `COUNTER_OUT_OF_RANGE`. */
  readonly ceiling?: N;
  /** Whether each tenant has its own. @default 'tenant' where a tenancy is set, else 'shared' */
  readonly scope?: 'tenant' | 'shared';
  /** Groups counters. @default 'counter' */
  readonly container?: string;
  /** The name of one of `forRoot({ providers })`. @default the main provider */
  readonly provider?: string;
}

/** Returned by `defineCounter`. `~number` and `~key` exist for the compiler only. */
export interface CounterDefinition<N extends number | bigint = number, K extends Key = Key> {
  readonly kind: 'counter';
  readonly name: string;
  readonly '~number'?: (number: N) => N;
  readonly '~key'?: (key: K) => K;
}

export interface ShardedCounterOptions {
  /**
   * Rows of one counter, from 2 to 256. More of them let more changes run at the same time, and
   * make a read larger. It may be raised later; after it was lowered, what is in the shards above
   * no longer counts. @default 16
   */
  readonly shards?: number;
  /** Milliseconds until a shard ends, from the change that creates it. */
  readonly ttlMs?: number;
  /** Whether each tenant has its own. @default 'tenant' where a tenancy is set, else 'shared' */
  readonly scope?: 'tenant' | 'shared';
  /** Groups counters. @default 'sharded' */
  readonly container?: string;
  /** The name of one of `forRoot({ providers })`. @default the main provider */
  readonly provider?: string;
}

/** Returned by `defineShardedCounter`. `~key` exists for the compiler only. */
export interface ShardedCounterDefinition<K extends Key = Key> {
  readonly kind: 'sharded counter';
  readonly name: string;
  readonly '~key'?: (key: K) => K;
}

// oxlint-disable-next-line typescript/no-explicit-any -- a bound
export type AnyCounter = CounterDefinition<any, any> | ShardedCounterDefinition<any>;
/** What has a store: a state or a counter. */
export type AnyDefinition = AnyState | AnyCounter;

/** A definition with its defaults. */
export interface ResolvedCounter extends ResolvedDefinition {
  readonly kind: 'counter';
  /** Whether its numbers are of type `bigint`. */
  readonly isBig: boolean;
  readonly floor: bigint;
  readonly ceiling: bigint;
  /** For the text of messages: states have one. */
  readonly prototype?: undefined;
}

/** A definition of sharded counters with its defaults. */
export interface ResolvedShardedCounter extends ResolvedDefinition {
  readonly kind: 'sharded counter';
  readonly shards: number;
  /** The counters that the shards are. */
  readonly shard: ResolvedCounter;
  readonly prototype?: undefined;
}

/** A definition of anything that has a store. */
export type ResolvedAny = ResolvedState | ResolvedCounter | ResolvedShardedCounter;

const safeMax = BigInt(Number.MAX_SAFE_INTEGER);
const int64Max = 2n ** 63n - 1n;
export const int64Min = -(2n ** 63n);

/** The numbers that a counter holds and takes. */
interface NumberRange {
  readonly isBig: boolean;
  readonly min: bigint;
  readonly max: bigint;
}
const safeNumbers: NumberRange = { isBig: false, min: -safeMax, max: safeMax };
const int64Numbers: NumberRange = { isBig: true, min: int64Min, max: int64Max };
export const numbersOf = (isBig: boolean): NumberRange => (isBig ? int64Numbers : safeNumbers);

/**
 * Declares counters of whole numbers, exact to ±(2^53 − 1). One name holds a counter for each key.
 * `INVALID_OPTION` for a blank name or an invalid option.
 */
export function defineCounter<KS extends KeySchema = KeySchema>(
  name: string,
  options: CounterOptions & KeyOptions<KS> = {},
): CounterDefinition<number, KeyFrom<KS>> {
  return located(callSiteOf(defineCounter), () =>
    resolveCounter('defineCounter', name, options, safeNumbers),
  );
}

/** Counters of `bigint`: signed integers of 64 bits. As `defineCounter`. */
export function defineBigCounter<KS extends KeySchema = KeySchema>(
  name: string,
  options: CounterOptions<bigint> & KeyOptions<KS> = {},
): CounterDefinition<bigint, KeyFrom<KS>> {
  return located(callSiteOf(defineBigCounter), () =>
    resolveCounter('defineBigCounter', name, options, int64Numbers),
  );
}

/**
 * Declares counters for keys that many callers change at the same time: the number of a key is the
 * sum of `shards` rows. `INVALID_OPTION` for a blank name or an invalid option, also for `floor`
 * and `ceiling`: no shard knows the sum.
 */
export function defineShardedCounter<KS extends KeySchema = KeySchema>(
  name: string,
  options: ShardedCounterOptions & KeyOptions<KS> = {},
): ShardedCounterDefinition<KeyFrom<KS>> {
  return located(callSiteOf(defineShardedCounter), () => resolveShardedCounter(name, options));
}

const shardsDefault = 16;
const shardsMax = 256;

function resolveShardedCounter(
  name: string,
  options: ShardedCounterOptions & KeyOptions<KeySchema>,
): ResolvedShardedCounter {
  const owner = 'defineShardedCounter';
  const where = `${owner} (${inspect(name)})`;
  const bounds = ['floor', 'ceiling'];
  assertOptions(where, options, [...counterOptions, 'shards']);
  if (bounds.some((bound) => bound in options))
    throw invalidOption(
      `${where}: a sharded counter has no ${bounds.join(' and ')}, because no shard knows the sum; use defineCounter.`,
    );
  const { shards = shardsDefault, container = shardedCounterContainer, ...others } = options;
  if (!Number.isInteger(shards) || shards < 2 || shards > shardsMax)
    throw invalidOption(
      `${where}: shards must be a whole number from 2 to ${shardsMax}; got ${inspect(shards)}.`,
    );
  const { isBig, floor, ceiling, ...definition } = resolveCounter(
    owner,
    name,
    { ...others, container },
    safeNumbers,
  );
  const shard = { ...definition, isBig, floor, ceiling, keySchema: undefined } as const;
  return Object.freeze({ ...definition, kind: 'sharded counter', shards, shard });
}

const counterOptions = ['ttlMs', 'floor', 'ceiling', 'scope', 'container', 'provider', 'key'];

function resolveCounter(
  owner: string,
  name: string,
  options: CounterOptions<number | bigint> & KeyOptions<KeySchema>,
  range: NumberRange,
): ResolvedCounter {
  const where = `${owner} (${inspect(name)})`;
  assertOptions(where, options, counterOptions);
  const { container = counterContainer } = options;
  const space = (encodable: string) => counterSpace(encodable, container);
  const floor = boundOf(`${where}: floor`, options.floor, range) ?? range.min;
  const ceiling = boundOf(`${where}: ceiling`, options.ceiling, range) ?? range.max;
  if (floor > ceiling)
    throw invalidOption(`${where}: floor must not be above ceiling; got ${floor} and ${ceiling}.`);
  return Object.freeze({
    kind: 'counter',
    ...resolveDefinition(where, 'counter', name, { ...options, container }, space),
    isBig: range.isBig,
    floor,
    ceiling,
  });
}

function boundOf(what: string, given: unknown, range: NumberRange): bigint | undefined {
  return given === undefined ? undefined : integerOf(what, given, range, invalidOption);
}

/**
 * `INVALID_OPTION` for another type than that of the counter, `OUT_OF_RANGE` (or `refused`) for
 * what is no whole number of its range.
 */
export function integerOf(
  what: string,
  given: unknown,
  { isBig, min, max }: NumberRange,
  refused: (message: string) => Error = outOfRange,
): bigint {
  const type = isBig ? 'bigint' : 'number';
  if (typeof given !== type) throw invalidOption(`${what} must be a ${type}; got ${inspect(given)}.`);
  const integer =
    typeof given === 'bigint' ? given : Number.isSafeInteger(given) ? BigInt(given as number) : undefined;
  if (integer === undefined || integer < min || integer > max)
    throw refused(`${what} must be a whole number from ${min} to ${max}; got ${inspect(given)}.`);
  return integer;
}

/** The definition behind a state or a counter; `INVALID_OPTION` for anything else. */
export function storeDefinitionOf(given: unknown): ResolvedAny {
  return isCounter(given) ? given : definitionOf(given);
}

const isCounter = (given: unknown): given is ResolvedCounter | ResolvedShardedCounter =>
  typeof given === 'object' &&
  given !== null &&
  ['counter', 'sharded counter'].includes((given as { readonly kind?: unknown }).kind as string) &&
  'entity' in given;
