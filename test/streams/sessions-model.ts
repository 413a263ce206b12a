/**
 * Explores the table of batches exhaustively on an abstract storage: sessions, outsiders, a deleter
 * and an unlocker in every order. A batch is evaluated and becomes visible in two steps, and time
 * passes and steps back at any moment. The batches are those that streams send, evaluated by
 * `evaluateBatch`.
 */
import {
  evaluateBatch,
  isLive,
  type Change,
  type Check,
  type Row,
  type RowAddress,
} from '@kvent/key-value-storage/provider';
import type { Contribution } from '@kvent/key-value-storage/internal';
import {
  appendBatch,
  closeBatch,
  deleteBatch,
  forgetBatch,
  openBatch,
  renewBatch,
  sessionAppendBatch,
  takeOverBatch,
  unlockBatch,
  type HeldStream,
  type FeedRows,
} from '../../libs/event-store/src/core/rows/stream-batches.js';
import { fenceIn, type Fence } from '../../libs/event-store/src/core/rows/fence.js';
import { freeHead, headIn, type Head } from '../../libs/event-store/src/core/rows/head.js';

const at = (container: string, key = ''): RowAddress => ({ container, entity: 's', key });
const rows: FeedRows = {
  inFeed: true,
  head: at('head'),
  lease: at('lease'),
  fence: at('fence'),
  event: (version) => at('event', String(version)),
};
const nameOf = ({ container, key }: RowAddress): string => `${container}${key}`;
const anEvent = [freeHead(0)];
const ttlMs = 2;

type Step = 'open' | 'append' | 'renew' | 'close' | 'outside' | 'delete' | 'unlock';
/** A batch of an actor that was evaluated and is not visible yet; its rows are locked. */
interface Flight {
  readonly step: Step;
  readonly version: string;
  readonly locks: readonly string[];
  readonly effects: readonly { readonly name: string; readonly row: Row | undefined }[];
}
interface Actor {
  readonly kind: 'session' | 'outsider' | 'deleter' | 'unlocker';
  readonly seen?:
    | {
        readonly version: number;
        readonly row: Row | undefined;
        readonly fence: Fence;
        readonly alive: boolean;
      }
    | undefined;
  readonly held?: HeldStream | undefined;
  readonly flight?: Flight | undefined;
  /** The number of steps that it may still make. */
  readonly left: number;
}
interface World {
  readonly rows: Readonly<Record<string, Row>>;
  readonly now: number;
  readonly stepsBack: number;
  readonly actors: readonly Actor[];
  readonly tokens: readonly number[];
  readonly next: number;
}

export interface Bounds {
  readonly sessions: number;
  readonly outsiders: number;
  readonly deleters: number;
  readonly unlockers?: number;
  readonly nowMax: number;
  readonly stepsBack: number;
  readonly left: number;
}

/** Leaves out checks of one step, by their positions in the batch. */
export interface Mutant {
  readonly step: Step | 'takeover';
  readonly checks: readonly number[];
}

/** Returns the number of states, or the shortest path to a broken one. */
export function explore(
  bounds: Bounds,
  mutant?: Mutant,
): { readonly states: number } | { readonly violation: string; readonly path: readonly string[] } {
  const actors: Actor[] = [
    ...Array.from({ length: bounds.sessions }, () => ({ kind: 'session', left: bounds.left }) as const),
    ...Array.from({ length: bounds.outsiders }, () => ({ kind: 'outsider', left: bounds.left }) as const),
    ...Array.from({ length: bounds.deleters }, () => ({ kind: 'deleter', left: 1 }) as const),
    ...Array.from({ length: bounds.unlockers ?? 0 }, () => ({ kind: 'unlocker', left: 1 }) as const),
  ];
  const first: World = { rows: {}, now: 0, stepsBack: bounds.stepsBack, actors, tokens: [], next: 1 };
  const seen = new Set([hashOf(first)]);
  let level: { world: World; path: readonly string[] }[] = [{ world: first, path: [] }];
  while (level.length > 0) {
    const following: typeof level = [];
    for (const { world, path } of level) {
      for (const { name, world: after, violation } of successors(world, bounds, mutant)) {
        const way = [...path, name];
        const wrong = violation ?? broken(after);
        if (wrong !== undefined) return { violation: wrong, path: way };
        const hash = hashOf(after);
        if (seen.has(hash)) continue;
        seen.add(hash);
        following.push({ world: after, path: way });
      }
    }
    level = following;
  }
  return { states: seen.size };
}

/** Versions are renamed in order of appearance, because they are only compared for equality. */
function hashOf({ next: _, ...world }: World): string {
  const names = new Map<string, string>();
  const text = JSON.stringify(world, (_name, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  );
  return text.replace(/"v\d+"/g, (version) => {
    const known = names.get(version) ?? String(names.size);
    names.set(version, known);
    return known;
  });
}

interface Successor {
  readonly name: string;
  readonly world: World;
  readonly violation?: string | undefined;
}

function* successors(world: World, bounds: Bounds, mutant: Mutant | undefined): Generator<Successor> {
  if (world.now < bounds.nowMax) yield { name: 'time passes', world: { ...world, now: world.now + 1 } };
  if (world.stepsBack > 0 && world.now > 0)
    yield {
      name: 'time steps back',
      world: { ...world, now: Math.max(0, world.now - 2), stepsBack: world.stepsBack - 1 },
    };
  for (const [index, actor] of world.actors.entries()) {
    if (actor.flight !== undefined) yield becomesVisible(world, index, actor, actor.flight);
    else yield* moves(world, index, actor, mutant);
  }
}

function* moves(world: World, index: number, actor: Actor, mutant: Mutant | undefined): Generator<Successor> {
  const send = (step: Step, batch: Contribution, way: Mutant['step'] = step): Successor | undefined =>
    evaluated(world, index, actor, step, without(batch, way, mutant));
  const tries: (Successor | undefined)[] = [];
  if (actor.held !== undefined) {
    if (actor.left > 0) {
      tries.push(send('append', sessionAppendBatch(rows, actor.held, anEvent, ttlMs)));
      tries.push(send('renew', renewBatch(rows, actor.held, ttlMs)));
    }
    tries.push(send('close', closeBatch(rows, actor.held)));
  } else if (actor.seen === undefined) {
    if (actor.left > 0)
      yield {
        name: `${actor.kind} ${index} looks`,
        world: withActor(world, index, { ...actor, seen: look(world) }),
      };
  } else {
    const seen = headOf(actor.seen.row);
    const dead = !actor.seen.alive;
    if (actor.kind === 'session' && seen.kind !== 'deleted' && dead)
      tries.push(send('open', openBatch(rows, { head: seen, fence: actor.seen.fence }, `s${index}`, ttlMs)));
    if (actor.kind === 'deleter' && seen.kind !== 'deleted' && seen.row !== undefined && dead)
      tries.push(send('delete', seen.version === 0 ? forgetBatch(rows, seen) : deleteBatch(rows, seen)));
    if (actor.kind === 'unlocker' && seen.kind === 'held')
      tries.push(send('unlock', unlockBatch(rows, seen)));
    if (actor.kind === 'outsider') {
      tries.push(send('outside', appendBatch(rows, seen.version, seen.row !== undefined, anEvent)));
      if (seen.kind === 'held' && dead)
        tries.push(send('outside', takeOverBatch(rows, seen, anEvent), 'takeover'));
    }
    yield {
      name: `${actor.kind} ${index} forgets`,
      world: withActor(world, index, { ...actor, seen: undefined, left: actor.left - 1 }),
    };
  }
  for (const found of tries) if (found !== undefined) yield found;
}

const without = (batch: Contribution, step: Mutant['step'], mutant: Mutant | undefined): Contribution =>
  mutant?.step === step
    ? { ...batch, checks: batch.checks.filter((_, index) => !mutant.checks.includes(index)) }
    : batch;

const headOf = (row: Row | undefined): Head => headIn({ database: 'd', ...rows.head }, row);

function look({ rows: held, now }: World): NonNullable<Actor['seen']> {
  const [row, fence] = [held[nameOf(rows.head)], held[nameOf(rows.fence)]];
  return {
    version: headOf(row).version,
    row,
    fence: fenceIn({ database: 'd', ...rows.fence }, fence, now),
    alive: isLive(held[nameOf(rows.lease)], now),
  };
}

/** Evaluates a batch, unless a batch in flight has locked one of its rows. */
function evaluated(
  world: World,
  index: number,
  actor: Actor,
  step: Step,
  { checks, changes }: Contribution,
): Successor | undefined {
  const locks = [...new Set([...checks, ...changes].map(({ address }: Check | Change) => nameOf(address)))];
  const locked = new Set(world.actors.flatMap(({ flight }) => flight?.locks ?? []));
  if (locks.some((name) => locked.has(name))) return undefined;
  const version = `v${world.next}`;
  const batch = { database: 'd', version, checks, changes };
  const { result, effects } = evaluateBatch(batch, (address) => world.rows[nameOf(address)], world.now);
  const name = `${actor.kind} ${index} ${step}`;
  if (result.outcome !== 'committed') {
    const after =
      step === 'close' || step === 'append' || step === 'renew'
        ? { ...actor, held: undefined, left: actor.left - 1 }
        : { ...actor, seen: undefined, left: actor.left - 1 };
    return { name: `${name}: conflict`, world: withActor(world, index, after) };
  }
  const lease = world.rows[nameOf(rows.lease)];
  const alive = isLive(lease, world.now);
  const isOwn = step === 'append' || step === 'renew' || step === 'close';
  const violation =
    !isOwn && alive && step !== 'unlock'
      ? `${name} is committed under a live lease`
      : isOwn && !alive
        ? `${name} is committed after its lease has expired`
        : undefined;
  const flight: Flight = {
    step,
    version,
    locks,
    effects: effects.map(({ address, row }) => ({ name: nameOf(address), row })),
  };
  return {
    name,
    world: { ...withActor(world, index, { ...actor, flight }), next: world.next + 1 },
    violation,
  };
}

/** A batch becomes visible, and its actor gets the result. */
function becomesVisible(
  world: World,
  index: number,
  actor: Actor,
  { step, version, effects }: Flight,
): Successor {
  const changed = new Map(effects.map(({ name, row }) => [name, row]));
  const kept = Object.entries(world.rows).filter(([name]) => !changed.has(name));
  const put = [...changed].filter((entry): entry is [string, Row] => entry[1] !== undefined);
  const after: Record<string, Row> = Object.fromEntries(
    [...kept, ...put].sort(([one], [other]) => (one < other ? -1 : 1)),
  );
  const { flight: _, ...rest } = actor;
  const before = headOf(world.rows[nameOf(rows.head)]);
  const freesAnother = step === 'close' && (before.kind !== 'held' || before.session !== `s${index}`);
  const forgets =
    (step === 'delete' || step === 'unlock') && headOf(after[nameOf(rows.head)]).version !== before.version;
  const overwrites = effects.some(
    ({ name, row }) => name.startsWith('event') && row !== undefined && world.rows[name] !== undefined,
  );
  let [actors, tokens]: [Actor, readonly number[]] = [
    { ...rest, seen: undefined, left: rest.left - 1 },
    world.tokens,
  ];
  if (step === 'open') {
    const { version: at } = headOf(after[nameOf(rows.head)]);
    actors = { ...actors, held: { session: `s${index}`, version: at, head: version, lease: version } };
    const fence = after[nameOf(rows.fence)]?.value;
    tokens = [...tokens, fence?.kind === 'number' ? Number(fence.number) : -1];
  } else if (step === 'append' && rest.held !== undefined) {
    actors = { ...actors, held: { ...rest.held, version: rest.held.version + 1, head: version } };
  } else if (step === 'close') actors = { ...actors, held: undefined };
  const violation = freesAnother
    ? `session ${index} freed the lock of another`
    : forgets
      ? `${actor.kind} ${index} forgot events that it had not seen`
      : overwrites
        ? `${actor.kind} ${index} overwrote an event`
        : tokens.some((token, at) => at > 0 && token <= (tokens[at - 1] as number))
          ? 'a later holder has no larger token'
          : undefined;
  return {
    name: `${actor.kind} ${index} ${step} is visible`,
    world: withActor({ ...world, rows: after, tokens }, index, actors),
    violation,
  };
}

const withActor = (world: World, index: number, actor: Actor): World => ({
  ...world,
  actors: world.actors.map((each, at) => (at === index ? actor : each)),
});

/** What must hold in every visible state. */
function broken({ rows: held }: World): string | undefined {
  const head = headOf(held[nameOf(rows.head)]);
  const lease = held[nameOf(rows.lease)]?.value;
  const holder = lease?.kind === 'json' ? (JSON.parse(lease.text) as { session: string }).session : undefined;
  if (holder !== undefined && (head.kind !== 'held' || head.session !== holder))
    return 'the head does not name the holder of the lease';
  const events = Object.keys(held).filter((name) => name.startsWith('event'));
  if (head.kind === 'deleted')
    return held[nameOf(rows.event(1))] === undefined
      ? undefined
      : 'a deleted stream still has its first event';
  if (events.length !== head.version)
    return `there are ${events.length} events, and the head says ${head.version}`;
  for (let version = 1; version <= head.version; version += 1)
    if (held[nameOf(rows.event(version))] === undefined) return `event ${version} is missing`;
  return undefined;
}
