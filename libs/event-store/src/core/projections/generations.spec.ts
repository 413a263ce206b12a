/** What a process knows of the generations that another one has changed. */
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryProvider, type KeyValueStorage } from '@kvent/key-value-storage';
import { ManualClock } from '@kvent/key-value-storage/testing';
import { onAbort, openKeyValueStorage } from '@kvent/key-value-storage/internal';
import type { WatchOptions } from '@kvent/key-value-storage/core';
import { GenerationsRow } from './generations.js';
import { watchLive } from './live-watch.js';
import { projectionDefinitionOf } from './projection-definition.js';
import { SalesByDay } from './spec-support.js';

/** Reads are held back before or after they are made, and are counted up to a limit. */
class HeldProvider extends MemoryProvider {
  reads = 0;
  readsMax = Number.POSITIVE_INFINITY;
  /** Of the next read. */
  before: Promise<void> | undefined;
  after: Promise<void> | undefined;

  override async read(...given: Parameters<MemoryProvider['read']>) {
    const { before, after } = this;
    this.before = this.after = undefined;
    this.reads += 1;
    if (this.reads > this.readsMax) throw new Error(`More than ${this.readsMax} reads.`);
    await before;
    const result = await super.read(...given);
    await after;
    return result;
  }
}

/** A promise, and the function that resolves it. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

describe('a switch by another process', () => {
  let clock: ManualClock;
  let provider: HeldProvider;
  let storage: KeyValueStorage;
  /** Of this process, and of the one that builds. */
  let own: GenerationsRow;
  let other: GenerationsRow;

  beforeEach(async () => {
    clock = new ManualClock();
    provider = new HeldProvider({ clock });
    storage = await openKeyValueStorage({ provider, tenant: () => undefined });
    const row = () => new GenerationsRow(storage, projectionDefinitionOf(SalesByDay), clock);
    [own, other] = [row(), row()];
    await other.join();
  });
  afterEach(async () => await storage.close());

  async function switchOver(): Promise<void> {
    const { building } = await other.rebuild();
    if (building === undefined) throw new Error('Nothing is built.');
    await other.setSwitching(building, true);
    await other.takeOver(building);
  }
  const live = async () => (await own.recent()).live.generation;
  const readLive = async () => (await own.read()).live.generation;

  it('is followed by watches that wait, with few reads, while no time passes', async () => {
    expect(await live()).toBe(1);
    /** The generation, then nothing more. */
    async function* watch(generation: number, { signal }: WatchOptions) {
      yield generation;
      await new Promise<void>((resolve) => signal && onAbort(signal, resolve));
    }
    const watches = Array.from({ length: 3 }, () => watchLive(own, watch));
    const next = async () => await Promise.all(watches.map(async (each) => await each.next()));
    const all = (value: number) => watches.map(() => ({ done: false, value }));
    expect(await next()).toEqual(all(1));
    const waiting = next();
    await setImmediate();
    await switchOver();
    provider.readsMax = provider.reads + 30;
    expect(await waiting).toEqual(all(2));
    expect(await live()).toBe(2);
    for (const each of watches) await each.return?.();
  });

  it('is not forgotten for the answer to an earlier read that comes later', async () => {
    const { opened, open } = gate();
    provider.after = opened;
    const early = live();
    await switchOver();
    expect(await readLive()).toBe(2);
    open();
    expect(await early).toBe(1);
    expect(await live()).toBe(2);
  });

  it('is not forgotten for the answer to a later read that was made before', async () => {
    expect(await live()).toBe(1);
    const [first, second] = [gate(), gate()];
    provider.before = first.opened;
    const slow = readLive();
    provider.after = second.opened;
    const fast = readLive();
    await switchOver();
    first.open();
    expect(await slow).toBe(2);
    second.open();
    expect(await fast).toBe(1);
    expect(await live()).toBe(2);
  });

  it('is read once by the calls of half a second', async () => {
    expect(await live()).toBe(1);
    await switchOver();
    await clock.advance(500);
    const { reads } = provider;
    for (let count = 0; count < 3; count += 1) expect(await live()).toBe(2);
    expect(provider.reads - reads).toBe(1);
  });
});
