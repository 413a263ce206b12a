/**
 * One tenant attacks another through every public method, with data that a careless application
 * could pass on: keys, etags, cursors, entries, stream ids, idempotency keys, loaded streams. For
 * each method, the result or error must not contain a value of the victim, and the rows of the
 * victim must be unchanged, byte by byte.
 */
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  defineProjection,
  defineReaction,
  defineStream,
  event,
  EventStore,
  On,
  Projection,
  projectionFrom,
  ProjectionRunner,
  ReactionRunner,
  type EventStream,
  type FeedEvent,
  type ProjectionContext,
  type ProjectionDefinition,
  type StreamSession,
} from '@kvent/event-store';
import {
  defineCounter,
  defineShardedCounter,
  defineState,
  StateMigration,
  type CounterStore,
  type Entry,
  type IndexedStore,
  type KeyValueStorage,
  type KeyValueStore,
  type ShardedCounter,
  type StorageProvider,
} from '@kvent/key-value-storage';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import { storages } from '../e2e/storages.js';

/** Part of every value of the victim. */
const secret = 'victims-own-value';

interface Note {
  readonly text: string;
}
const indexes = { byText: (note: Note) => note.text };
const Notes = defineState<Note, string, typeof indexes>('note', { indexes });
type Notes = IndexedStore<Note, typeof indexes, string>;
const Views = defineCounter('views');
const Likes = defineShardedCounter('likes', { shards: 2 });
/** What the counter of the victim has: a secret too. */
const victimsNumber = 7_777_777;
// A renewal by the attacker would change the rows.
const Sliding = defineState<Note>('sliding', { ttlMs: 3_600_000, expiry: 'sliding' });
const Diary = defineStream('diary', {
  events: { written: event<Note>() },
  initial: (): { readonly lines: readonly string[] } => ({ lines: [] }),
  evolve: (diary, { data }) => ({ lines: [...diary.lines, data.text] }),
  snapshot: { every: 100 },
});
type Diary = EventStream<typeof Diary>;

/** The stores of the attacker, and what it has of the victim. */
interface Attack {
  readonly storage: KeyValueStorage;
  readonly notes: Notes;
  readonly sliding: KeyValueStore<Note>;
  readonly views: CounterStore;
  readonly likes: ShardedCounter;
  readonly diary: Diary;
  readonly events: EventStore;
  readonly entry: Entry<Note, string>;
  readonly cursor: string;
  readonly previous: string;
  readonly indexCursor: string;
  readonly streamCursor: string;
  readonly loaded: Awaited<ReturnType<Diary['load']>>;
}
type Attempt = (attack: Attack) => unknown;

const written = (text: string) => [{ type: 'written' as const, data: { text } }];

const storeAttempts: Record<string, readonly Attempt[]> = {
  get: [({ notes }) => notes.get('n-1'), ({ sliding }) => sliding.get('s-1')],
  getOrThrow: [({ notes }) => notes.getOrThrow('n-1'), ({ sliding }) => sliding.getOrThrow('s-1')],
  // Only the victim has the key 'g-1', and its existence must not be visible.
  has: [async ({ notes }) => (await notes.has('g-1')) && secret],
  stat: [async ({ notes }) => (await notes.stat('g-1')) && secret],
  // the victim has used the key 'once' for 'r-1' and 'r-2'
  add: [
    ({ notes }) => notes.add('n-1', { text: 'mine' }),
    ({ notes }) => notes.add('r-1', { text: 'mine' }, { idempotencyKey: 'once' }),
  ],
  getOrAdd: [
    ({ notes }) => notes.getOrAdd('n-2', () => ({ text: 'mine' })),
    ({ notes }) => notes.getOrAdd('r-2', () => ({ text: 'mine' }), { idempotencyKey: 'once' }),
  ],
  set: [
    ({ notes }) => notes.set('n-1', { text: 'mine' }),
    ({ notes, entry }) => notes.set('n-1', { text: 'mine' }, { ifMatch: entry }),
    ({ notes, entry }) => notes.set('n-1', { text: 'mine' }, { ifMatch: entry.etag }),
    ({ notes }) => notes.set('absent-here', { text: 'mine' }, { ifMatch: '*' }),
    ({ notes }) => notes.set('r-1', { text: 'mine' }, { idempotencyKey: 'once' }),
  ],
  replace: [
    ({ notes }) => notes.replace('n-2', { text: 'mine' }),
    ({ notes }) => notes.replace('r-3', { text: 'mine' }, { idempotencyKey: 'once' }),
  ],
  save: [
    ({ notes, entry }) => notes.save(entry),
    ({ notes, entry }) => notes.save(entry.with({ text: 'mine' })),
    ({ notes, entry }) => notes.save(entry, { idempotencyKey: 'once' }),
  ],
  update: [
    ({ notes }) =>
      notes.update('n-3', (note) => ({ text: `${note.text}!` }), { initial: () => ({ text: 'mine' }) }),
    ({ notes }) => notes.update('r-1', () => ({ text: 'mine' }), { idempotencyKey: 'once' }),
  ],
  touch: [
    ({ sliding }) => sliding.touch('s-1', { ttlMs: 7_200_000 }),
    ({ sliding }) => sliding.touch('s-1', { ttlMs: 7_200_000, idempotencyKey: 'once' }),
  ],
  delete: [
    ({ notes }) => notes.delete('n-1'),
    ({ notes, entry }) => notes.delete('n-1', { ifMatch: entry }),
    async ({ notes }) => (await notes.delete('r-1', { idempotencyKey: 'once' })) && secret,
  ],
  take: [({ notes }) => notes.take('n-1'), ({ notes }) => notes.take('r-1', { idempotencyKey: 'once' })],
  getMany: [({ notes }) => notes.getMany(['n-1', 'n-2', 'n-3'])],
  setMany: [({ notes }) => notes.setMany([{ key: 'n-1', value: { text: 'mine' } }])],
  addMany: [({ notes }) => notes.addMany([{ key: 'n-1', value: { text: 'mine' } }])],
  loadFrom: [
    ({ notes }) => notes.loadFrom([{ key: 'n-1', value: { text: 'mine' } }]),
    ({ notes }) => notes.loadFrom([{ key: 'g-1', value: { text: 'mine' } }], { onError: 'continue' }),
  ],
  export: [
    ({ notes }) => everything(notes.export()),
    ({ notes }) => everything(notes.export({ prefix: 'g-' })),
  ],
  deleteKeys: [({ notes }) => notes.deleteKeys(['n-1', 'g-1'])],
  list: [
    ({ notes }) => everything(notes.list()),
    ({ notes }) => everything(notes.list({ prefix: 'n-', reverse: true })),
  ],
  page: [
    ({ notes }) => notes.page({ limit: 1_000 }),
    ({ notes, cursor }) => notes.page({ limit: 1, cursor }),
    ({ notes, previous }) => notes.page({ limit: 1, cursor: previous }),
    ({ notes, previous }) => everything(notes.list({ cursor: previous })),
    async ({ notes }) => (await notes.page({ prefix: 'g-' }, { values: false })).items.length > 0 && secret,
  ],
  keys: [({ notes }) => everything(notes.keys())],
  count: [({ notes }) => notes.count()],
  deleteMany: [({ notes }) => notes.deleteMany({ prefix: 'n-' })],
  clear: [({ notes }) => notes.clear(), ({ sliding }) => sliding.clear()],
  index: [
    ({ notes }) => everything(notes.index('byText').list()),
    ({ notes }) => notes.index('byText').page({ limit: 1_000 }),
    ({ notes, indexCursor }) => notes.index('byText').page({ limit: 1, cursor: indexCursor }),
    async ({ notes }) => (await notes.index('byText').get(secret)) !== undefined && secret,
    async ({ notes }) => (await notes.index('byText').count({ key: secret })) > 0 && secret,
  ],
  watch: [({ notes }) => first(notes.watch('n-1'))],
  watchMany: [({ notes }) => first(notes.watchMany(['n-1', 'g-1']))],
  watchRange: [({ notes }) => listed(notes.watchRange({}))],
};

const counterAttempts: Record<string, readonly Attempt[]> = {
  get: [async ({ views }) => exposed(await views.get('v-1'))],
  getMany: [async ({ views }) => (await views.getMany(['v-1'])).map(exposed)],
  increment: [async ({ views }) => exposed(await views.increment('v-1'))],
  decrement: [async ({ views }) => exposed(await views.decrement('v-1'))],
  raiseTo: [async ({ views }) => exposed(await views.raiseTo('v-1', 3))],
  lowerTo: [async ({ views }) => exposed(await views.lowerTo('v-1', 2))],
  list: [async ({ views }) => (await everything(views.list())).length > 1 && secret],
  reset: [({ views }) => views.reset('v-1'), ({ views }) => views.reset('v-1', { idempotencyKey: 'once' })],
};
const shardedAttempts: Record<string, readonly Attempt[]> = {
  get: [async ({ likes }) => exposed(await likes.get('l-1'))],
  getMany: [async ({ likes }) => (await likes.getMany(['l-1'])).map(exposed)],
  increment: [
    ({ likes }) => likes.increment('l-1'),
    ({ likes }) => likes.increment('l-1', 1, { idempotencyKey: 'once' }),
  ],
  decrement: [({ likes }) => likes.decrement('l-1')],
  reset: [({ likes }) => likes.reset('l-1'), ({ likes }) => likes.reset('l-1', { idempotencyKey: 'once' })],
};
/** The secret, if a number comes from the counter of the victim. */
const exposed = (number: number): string => (Math.abs(number) > victimsNumber / 2 ? secret : 'nothing');

const streamAttempts: Record<string, readonly Attempt[]> = {
  load: [({ diary }) => diary.load('d-1'), ({ diary }) => diary.load('d-1', { atVersion: 0 })],
  loadOrThrow: [({ diary }) => diary.loadOrThrow('d-1')],
  transact: [
    ({ diary }) => diary.transact('d-1', () => written('mine')),
    ({ diary, notes, entry }) =>
      diary.transact(
        'd-2',
        (_state, { batch }) => {
          batch.save(notes, entry);
          return written('mine');
        },
        { retry: { attempts: 2 } },
      ),
    ({ diary, loaded }) => diary.transact('d-1', () => written('mine'), { ifMatch: `v${loaded.version}` }),
    ({ diary }) => diary.transact('d-1', () => written('mine'), { idempotencyKey: 'once' }),
  ],
  append: [
    ({ diary }) => diary.append('d-1', written('mine'), { expectedVersion: 'any' }),
    ({ diary }) => diary.append('d-1', written('mine'), { expectedVersion: 2 }),
    ({ diary }) => diary.append('d-3', written('mine'), { expectedVersion: 'any', idempotencyKey: 'once' }),
  ],
  appending: [
    ({ diary, storage, loaded }) =>
      storage
        .atomic()
        .include(diary.appending(loaded, written('mine')))
        .commit(),
    ({ diary, storage }) =>
      storage
        .atomic()
        .include(diary.appending('d-1', written('mine'), { expectedVersion: 2 }))
        .commit(),
  ],
  read: [
    ({ diary }) => everything(diary.read('d-1')),
    ({ diary }) => everything(diary.read('d-1', { reverse: true })),
  ],
  version: [({ diary }) => diary.version('d-1')],
  findByIdempotencyKey: [({ diary }) => diary.findByIdempotencyKey('d-1', 'once')],
  findByIdempotencyKeyOrThrow: [({ diary }) => diary.findByIdempotencyKeyOrThrow('d-1', 'once')],
  page: [
    ({ diary }) => diary.page(),
    ({ diary, streamCursor }) => diary.page({ limit: 1, cursor: streamCursor }),
  ],
  delete: [({ diary }) => diary.delete('d-1'), ({ diary }) => diary.delete('d-2', { expectedVersion: 2 })],
  session: [
    ({ diary }) =>
      diary.session('d-4', async (session) => [session.state, await session.append(written('mine'))]),
  ],
  openSession: [({ diary }) => closing(diary.openSession('d-4'))],
  unlock: [({ diary }) => diary.unlock('d-1')],
  snapshot: [({ diary }) => diary.snapshot('d-4'), ({ diary }) => diary.snapshot('d-1')],
  snapshotAll: [({ diary }) => diary.snapshotAll('d-1', { every: 1 })],
  snapshotVersions: [({ diary }) => diary.snapshotVersions('d-1')],
  clearSnapshots: [({ diary }) => diary.clearSnapshots('d-1')],
};

/** The feed is one for all tenants: without `tenants`, only those of the current one are read. */
const feedAttempts: Record<string, readonly Attempt[]> = {
  readFeed: [
    ({ events }) => events.readFeed({ streams: [Diary] }),
    ({ events }) => events.readFeed({ streams: [Diary], deletions: true, limit: 1 }),
    ({ events, loaded }) => events.readFeed({ streams: [Diary], after: loaded.id }),
    ({ events }) => events.readFeed({ streams: [Diary], tenants: ['acme'] }),
  ],
  feed: [
    async ({ events, diary }) => {
      await diary.append('own', written('mine'), { expectedVersion: 'any' });
      return await first(events.feed({ streams: [Diary] }));
    },
  ],
};
/** Events of the attacker, in streams whose ids are keys of the victim. */
const Copies = defineProjection('copies', {
  streams: [Diary],
  into: Notes,
  key: ({ tenant, stream }) => (tenant === 'acme' ? stream : undefined),
  initial: () => ({ text: 'mine' }),
  evolve: (_note, { data }) => data,
});
/** A class that got the stores of the victim. */
@Projection('class-copies', { streams: [Diary] })
class ClassCopies {
  readonly #notes: KeyValueStore<Note>;
  constructor(storage: KeyValueStorage) {
    this.#notes = storage.store(Notes).forTenant('globex');
  }

  @On(Diary, 'written')
  written({ tenant, stream, data }: FeedEvent<typeof Diary>, { change, remove }: ProjectionContext): void {
    if (tenant !== 'acme') return;
    remove(this.#notes, stream);
    change(this.#notes, stream, () => data, { initial: data });
  }
}
const running =
  (
    work: (runner: ProjectionRunner) => unknown,
    projection: (storage: KeyValueStorage) => ProjectionDefinition = () => Copies,
  ): Attempt =>
  async ({ storage, diary, notes }) => {
    const runner = new ProjectionRunner(storage, projection(storage));
    await diary.append('n-1', written('mine'), { expectedVersion: 'any' });
    await runner.start();
    try {
      await runner.whenCaughtUp({ tenant: 'acme' });
      return [await work(runner), await notes.get('n-1')];
    } finally {
      await runner.stop();
    }
  };
/** A projection reads the events of all tenants; each has effects in its own. */
const projectionAttempts: Record<string, readonly Attempt[]> = {
  start: [
    running((runner) => runner.start()),
    running(
      (runner) => runner.start(),
      (storage) => projectionFrom(new ClassCopies(storage)),
    ),
  ],
  whenCaughtUp: [running((runner) => runner.whenCaughtUp())],
  lag: [running((runner) => runner.lag())],
  health: [running((runner) => runner.health())],
  retry: [running((runner) => runner.retry({ tenant: 'globex' }))],
  parked: [running((runner) => runner.parked({ tenant: 'globex' }))],
  retryParked: [running((runner) => runner.retryParked({ tenant: 'globex' }))],
  discardParked: [running((runner) => runner.discardParked('0/event:diary/n-1', { tenant: 'globex' }))],
  store: [
    running(async (runner) => {
      const own = runner.store(Notes);
      const found: unknown[] = [await own.get('n-1'), await own.getMany(['n-1', 'n-2']), await own.page({})];
      for await (const each of own.list()) found.push(each);
      for await (const each of own.watch('n-1')) if (found.push(each) > 0) break;
      for await (const each of own.watchMany(['n-1', 'n-2'])) if (found.push(each) > 0) break;
      return [...found, await own.forTenant('acme').get('n-1')];
    }),
  ],
  rebuild: [running((runner) => runner.rebuild())],
  whenRebuilt: [running((runner) => runner.whenRebuilt())],
  builds: [running((runner) => runner.builds())],
  countParked: [running((runner) => runner.countParked())],
  stop: [running((runner) => runner.stop())],
};
const reacting =
  (work: (runner: ReactionRunner) => unknown): Attempt =>
  async ({ storage, diary }) => {
    const seen: unknown[] = [];
    const on = { written: (given: FeedEvent<typeof Diary>) => given.tenant === 'acme' && seen.push(given) };
    const runner = new ReactionRunner(storage, defineReaction('seen', { streams: [Diary], on }));
    await runner.start();
    try {
      await diary.append('n-1', written('mine'), { expectedVersion: 'any' });
      await runner.whenCaughtUp({ tenant: 'acme' });
      return [await work(runner), seen];
    } finally {
      await runner.stop();
    }
  };
/** A reaction reads the events of all tenants; its checkpoints are in the database of each. */
const reactionAttempts: Record<string, readonly Attempt[]> = {
  start: [reacting((runner) => runner.start())],
  whenCaughtUp: [reacting((runner) => runner.whenCaughtUp({ tenant: 'acme' }))],
  lag: [reacting((runner) => runner.lag())],
  health: [reacting((runner) => runner.health())],
  retry: [reacting((runner) => runner.retry({ tenant: 'globex' }))],
  parked: [reacting((runner) => runner.parked({ tenant: 'globex' }))],
  retryParked: [reacting((runner) => runner.retryParked({ tenant: 'globex' }))],
  discardParked: [reacting((runner) => runner.discardParked('0/event:diary/n-1', { tenant: 'globex' }))],
  countParked: [reacting((runner) => runner.countParked())],
  stop: [reacting((runner) => runner.stop())],
};
/** Methods of an event store that read and write no rows themselves. */
const withoutRows = ['stream', 'idle', 'refuseSessions', 'close'];

const migrationAttempts: Record<string, readonly Attempt[]> = {
  versions: [
    async ({ notes }) => {
      const versions = await new StateMigration(notes).versions();
      const entries = versions.reduce((sum, each) => sum + each.entries, 0);
      return entries !== (await notes.count()) && secret;
    },
  ],
  run: [
    ({ notes }) => new StateMigration(notes).run(),
    async ({ notes, sliding }) => {
      await new StateMigration(notes, { to: sliding }).run();
      return await everything(sliding.list());
    },
  ],
};

const batchAttempts: Record<string, readonly Attempt[]> = {
  check: [
    ({ storage, notes, entry }) =>
      storage.atomic().check(notes, entry).set(notes, 'n-9', { text: 'mine' }).commit(),
  ],
  checkAbsent: [
    ({ storage, notes }) =>
      storage.atomic().checkAbsent(notes, 'n-1').set(notes, 'n-9', { text: 'mine' }).commit(),
  ],
  add: [({ storage, notes }) => storage.atomic().add(notes, 'n-1', { text: 'mine' }).commit()],
  set: [
    ({ storage, notes }) =>
      storage.atomic().set(notes, 'n-1', { text: 'mine' }).commit({ idempotencyKey: 'once' }),
  ],
  replace: [({ storage, notes }) => storage.atomic().replace(notes, 'n-1', { text: 'mine' }).commit()],
  save: [({ storage, notes, entry }) => storage.atomic().save(notes, entry).commit()],
  delete: [
    ({ storage, notes }) => storage.atomic().delete(notes, 'n-1').commit(),
    ({ storage, notes, entry }) => storage.atomic().delete(notes, entry).commit(),
  ],
  include: [
    ({ storage, diary, loaded }) =>
      storage
        .atomic()
        .include(diary.appending(loaded, written('mine')))
        .commit(),
  ],
  increment: [({ storage, views }) => storage.atomic().increment(views, 'v-1').commit()],
  decrement: [({ storage, views }) => storage.atomic().decrement(views, 'v-1').commit()],
  raiseTo: [({ storage, views }) => storage.atomic().raiseTo(views, 'v-1', 3).commit()],
  lowerTo: [({ storage, views }) => storage.atomic().lowerTo(views, 'v-1', 2).commit()],
  // A batch over two tenants is always refused.
  commit: [
    ({ storage, notes }) =>
      storage
        .atomic()
        .set(notes, 'n-1', { text: 'mine' })
        .set(notes.forTenant('globex'), 'n-1', { text: 'mine' })
        .commit(),
  ],
};

/** Methods with an explicit tenant or transaction: the caller decides. */
const explicit = ['forTenant', 'within'];

describe.each(storages)('The tenant globex, attacked by acme on $name', (given) => {
  let attack: Attack;
  let before: string;
  let close: () => Promise<void>;
  let provider: StorageProvider;

  beforeAll(async () => {
    const temporary = await given.create();
    provider = temporary.openProvider();
    let tenant = 'globex';
    const storage = await openKeyValueStorage({ provider, tenant: () => tenant });
    const events = new EventStore(storage);
    close = async () => {
      await events.close();
      await storage[Symbol.asyncDispose]();
      await temporary[Symbol.asyncDispose]();
    };
    const [notes, sliding, diary] = [storage.store(Notes), storage.store(Sliding), events.stream(Diary)];
    const [views, likes] = [storage.store(Views), storage.store(Likes)];
    const stolen = await prepareVictim(storage, notes, sliding, diary);
    await views.increment('v-1', victimsNumber);
    await views.increment('v-2', victimsNumber);
    await likes.increment('l-1', victimsNumber);
    await likes.increment('l-1', victimsNumber, { idempotencyKey: 'once' });
    tenant = 'acme';
    attack = { storage, events, notes, sliding, diary, views, likes, ...stolen };
    before = await rowsOf(provider, 'tenant:globex');
  });
  afterAll(() => close());

  for (const [kind, methods] of Object.entries({
    store: storeAttempts,
    stream: streamAttempts,
    events: feedAttempts,
    batch: batchAttempts,
    projection: projectionAttempts,
    reaction: reactionAttempts,
    counter: counterAttempts,
    sharded: shardedAttempts,
    migration: migrationAttempts,
  }))
    for (const [method, attempts] of Object.entries(methods))
      it(`shows nothing and keeps every row: ${kind}.${method}`, async () => {
        for (const attempt of attempts) {
          expect(await outcomeOf(() => attempt(attack))).not.toContain(secret);
          expect(await rowsOf(provider, 'tenant:globex')).toBe(before);
        }
      });

  it('is attacked through every method', () => {
    const { notes, diary, storage, views, likes, events } = attack;
    const missing = [
      ...methodsOf(notes).filter((name) => !(name in storeAttempts)),
      ...methodsOf(diary).filter((name) => !(name in streamAttempts)),
      ...methodsOf(storage.atomic()).filter((name) => !(name in batchAttempts)),
      ...methodsOf(views).filter((name) => !(name in counterAttempts)),
      ...methodsOf(new StateMigration(notes)).filter((name) => !(name in migrationAttempts)),
      ...methodsOf(likes).filter((name) => !(name in shardedAttempts)),
      ...methodsOf(events).filter((name) => !(name in feedAttempts) && !withoutRows.includes(name)),
    ];
    missing.push(...methodsOf(ProjectionRunner.prototype).filter((name) => !(name in projectionAttempts)));
    missing.push(...methodsOf(ReactionRunner.prototype).filter((name) => !(name in reactionAttempts)));
    expect(missing.filter((name) => !explicit.includes(name))).toEqual([]);
  });

  it('has its rows in its own database only', async () => {
    expect(before).toContain(secret);
    const others = (await provider.administration.databases()).filter(
      (database) => database !== 'tenant:globex',
    );
    for (const database of others) expect(await rowsOf(provider, database)).not.toContain(secret);
  });
});

/**
 * The data of the victim: entries, a sliding entry, a stream with a snapshot and an idempotency
 * record, and a stream with an open session.
 */
async function prepareVictim(
  storage: KeyValueStorage,
  notes: Notes,
  sliding: KeyValueStore<Note>,
  diary: Diary,
) {
  await notes.setMany(['g-1', 'n-1', 'n-2', 'n-3'].map((key) => ({ key, value: { text: secret } })));
  await storage.atomic().set(notes, 'n-4', { text: secret }).commit({ idempotencyKey: 'once' });
  await sliding.set('s-1', { text: secret });
  await notes.update('r-1', () => ({ text: secret }), {
    idempotencyKey: 'once',
    initial: () => ({ text: '' }),
  });
  await notes.getOrAdd('r-2', () => ({ text: secret }), { idempotencyKey: 'once' });
  await diary.append('d-1', [...written(secret), ...written(secret)], {
    expectedVersion: 'absent',
    idempotencyKey: 'once',
  });
  await diary.append('d-2', [...written(secret), ...written(secret)], { expectedVersion: 'absent' });
  await diary.snapshot('d-1');
  await held(diary.openSession('d-4', { sessionTimeoutMs: 3_600_000 }));
  const { next } = await notes.page({ limit: 1 });
  const { previous } = await notes.page({ limit: 1, cursor: next });
  const streams = await diary.page({ limit: 1 });
  // it waits until the index is built, so that the rows stay as they are
  const indexed = await notes.index('byText').page({ limit: 1 });
  if (!next || !previous || streams.next === undefined || indexed.next === undefined)
    throw new Error('There is no second page to attack.');
  return {
    entry: await notes.getOrThrow('n-1'),
    cursor: next,
    previous,
    indexCursor: indexed.next,
    streamCursor: streams.next,
    loaded: await diary.load('d-1'),
  };
}

/** Appends once, so that the stream exists, and keeps the session open. */
async function held(opening: Promise<StreamSession<typeof Diary>>): Promise<void> {
  await (await opening).append(written(secret));
}

async function closing(opening: Promise<StreamSession<typeof Diary>>): Promise<unknown> {
  await using session = await opening;
  return [session.state, session.version];
}

async function everything(items: AsyncIterable<unknown>): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for await (const item of items) found.push(item);
  return found;
}

async function first(items: AsyncIterable<unknown>): Promise<unknown> {
  for await (const item of items) return item;
  return undefined;
}

/** What a watch of a range shows until the mark behind its first listing. */
async function listed(items: AsyncIterable<{ readonly type: string }>): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for await (const item of items) {
    if (item.type === 'listed') break;
    found.push(item);
  }
  return found;
}

/** All fields of a result or an error, with causes and stacks. */
async function outcomeOf(attempt: () => unknown): Promise<string> {
  try {
    return inspect(await attempt(), {
      depth: 12,
      showHidden: true,
      maxArrayLength: null,
      maxStringLength: null,
    });
  } catch (error) {
    return inspect(error, { depth: 12, showHidden: true, maxArrayLength: null, maxStringLength: null });
  }
}

async function rowsOf(provider: StorageProvider, database: string): Promise<string> {
  return (await everything(provider.administration.export(database)))
    .map((row) => inspect(row, { depth: 6, maxStringLength: null }))
    .join('\n');
}

function methodsOf(subject: object): readonly string[] {
  const prototype = Object.getPrototypeOf(subject) as object;
  return Object.getOwnPropertyNames(prototype).filter(
    (name) =>
      name !== 'constructor' && typeof Object.getOwnPropertyDescriptor(prototype, name)?.value === 'function',
  );
}
