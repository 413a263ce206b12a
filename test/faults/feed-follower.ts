/**
 * A reader and a projection that follow the feed while processes append to it (`feed-work.ts`), and
 * what they must have found at the end: the events of the streams, each once, and each stream in
 * order.
 */
import { defineProjection, EventStore, ProjectionRunner, type EventFeedPage } from '@kvent/event-store/core';
import { defineState, type KeyValueStorage } from '@kvent/key-value-storage/core';
import { feedProcesses, Moves, moveStreams, moveTenants } from './feed-work.js';
import { workInProcesses } from './postgres-processes.js';
import { openAt } from './projections-work.js';
import type { Random } from './seeded-random.js';

const Order = defineState<{ events: number; outOfOrder: number }>('order-of-stream');
const orderOfStreams = defineProjection('order-of-streams', {
  streams: [Moves],
  into: Order,
  partitions: 2,
  key: ({ stream }) => stream,
  initial: () => ({ events: 0, outOfOrder: 0 }),
  evolve: ({ events, outOfOrder }, { version }) => ({
    events: events + 1,
    outOfOrder: outOfOrder + (version === events + 1 ? 0 : 1),
  }),
});

export interface FeedReport {
  /** What the processes did, in total. */
  readonly did: Readonly<Record<string, number>>;
  /** Events that the reader found. */
  readonly read: number;
  readonly pages: number;
  readonly heldBackMsMost: number;
  readonly faults: FeedFaults;
}
export interface FeedFaults {
  /** Events of the streams that the reader did not get. */
  readonly missing: number;
  readonly twice: number;
  readonly outOfOrder: number;
  /** Events that are in no stream: those of a rollback. */
  readonly unknown: number;
  /** Events that have another place when the feed is read again. */
  readonly moved: number;
  /** What was read, less the number of events whose commit the writers have seen. */
  readonly notCommitted: number;
  /** Streams whose events the projection has not counted once each, in their order. */
  readonly projected: number;
}

type Page = EventFeedPage<typeof Moves>;

/** `appends`: of all processes together. `onProgress` is called after each 10,000 events. */
export async function followFeed(
  url: string,
  { appends, random }: { readonly appends: number; readonly random: Random },
  onProgress: (read: number) => void = () => undefined,
): Promise<FeedReport> {
  await using storage = await openAt(url);
  const runner = new ProjectionRunner(storage, orderOfStreams);
  try {
    await runner.start();
    const follower = new Follower();
    const writers = new AbortController();
    const reading = readUntil(storage, writers.signal, random, (page) => {
      const before = follower.read;
      follower.add(page);
      if (Math.floor(before / 10_000) < Math.floor(follower.read / 10_000)) onProgress(follower.read);
    });
    const working = workInProcesses(url, 'appendToFeed', feedProcesses, Math.ceil(appends / feedProcesses));
    const [reports] = await Promise.all([working.finally(() => writers.abort()), reading]);
    await runner.whenCaughtUp({ timeoutMs: 600_000 });
    const did: Record<string, number> = {};
    for (const report of reports)
      for (const [what, count] of Object.entries(report.did)) did[what] = (did[what] ?? 0) + count;
    const { read, pages, heldBackMsMost } = follower;
    const faults = {
      ...(await follower.faults(storage)),
      notCommitted: read - (did['events'] ?? 0),
      projected: await wrongStates(storage, runner),
    };
    return { did, read, pages, heldBackMsMost, faults };
  } finally {
    await runner.stop();
  }
}

/** Reads pages of any size, until the writers have ended and nothing is held back. */
async function readUntil(
  storage: KeyValueStorage,
  ended: AbortSignal,
  random: Pick<Random, 'below'>,
  onPage: (page: Page) => void,
): Promise<void> {
  const eventStore = new EventStore(storage);
  for (let after: string | undefined; ;) {
    const isLast = ended.aborted;
    const limit = 1 + random.below(1_000);
    const page = await eventStore.readFeed({ streams: [Moves], tenants: 'all', after, limit });
    onPage(page);
    after = page.next;
    if (isLast && page.upToDate && page.heldBackMs === undefined) return;
    if (page.events.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

class Follower {
  readonly #order: string[] = [];
  readonly #ids = new Set<string>();
  readonly #versions = new Map<string, number>();
  #twice = 0;
  #outOfOrder = 0;
  pages = 0;
  heldBackMsMost = 0;

  get read(): number {
    return this.#order.length;
  }

  add({ events, heldBackMs }: Page): void {
    this.pages += 1;
    this.heldBackMsMost = Math.max(this.heldBackMsMost, heldBackMs ?? 0);
    for (const { id, tenant, stream, version } of events) {
      this.#order.push(id);
      if (this.#ids.has(id)) this.#twice += 1;
      this.#ids.add(id);
      const name = `${tenant} ${stream}`;
      if (version <= (this.#versions.get(name) ?? 0)) this.#outOfOrder += 1;
      this.#versions.set(name, version);
    }
  }

  async faults(storage: KeyValueStorage): Promise<Omit<FeedFaults, 'notCommitted' | 'projected'>> {
    const stored = new Set<string>();
    const moves = new EventStore(storage).stream(Moves);
    for (const tenant of moveTenants)
      for (const stream of moveStreams)
        for await (const { id } of moves.forTenant(tenant).read(stream)) stored.add(id);
    const again: string[] = [];
    const ended = AbortSignal.abort();
    await readUntil(storage, ended, { below: () => 999 }, ({ events }) => {
      for (const { id } of events) again.push(id);
    });
    return {
      missing: [...stored].filter((id) => !this.#ids.has(id)).length,
      twice: this.#twice,
      outOfOrder: this.#outOfOrder,
      unknown: [...this.#ids].filter((id) => !stored.has(id)).length,
      moved: again.filter((id, index) => this.#order[index] !== id).length,
    };
  }
}

async function wrongStates(storage: KeyValueStorage, runner: ProjectionRunner): Promise<number> {
  const moves = new EventStore(storage).stream(Moves);
  let wrong = 0;
  for (const tenant of moveTenants) {
    const states = runner.store(Order).forTenant(tenant);
    for (const stream of moveStreams) {
      const { events, outOfOrder } = (await states.get(stream))?.value ?? { events: 0, outOfOrder: 0 };
      if (outOfOrder > 0 || events !== (await moves.forTenant(tenant).version(stream))) wrong += 1;
    }
  }
  return wrong;
}
