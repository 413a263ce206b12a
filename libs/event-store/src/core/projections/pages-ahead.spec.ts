import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import type { FeedEntry, FeedPage } from '@kvent/key-value-storage/provider';
import { PagesAhead } from './pages-ahead.js';

const room = { pageEvents: 10, aheadEvents: 30 };

/** A page of `count` entries, whose numbers begin with `first`. */
const page = (first: number, count: number, upToDate = false): FeedPage => ({
  time: 0,
  entries: Array.from({ length: count }, (_, index) => ({ position: String(first + index) }) as FeedEntry),
  next: String(first + count - 1),
  upToDate,
});
const full = (count: number): FeedPage[] => Array.from({ length: count }, (_, index) => page(index * 10, 10));

/** Returns the pages, then what `end` does. */
async function* pagesOf(pages: readonly FeedPage[], end: () => void = () => undefined) {
  for (const each of pages) {
    await setImmediate();
    yield each;
  }
  end();
}

/** Reads ahead until no page follows. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 100; turn += 1) await setImmediate();
}

const positions = (read: FeedPage | undefined) => read?.entries.map(({ position }) => Number(position));
const upTo = (first: number, end: number) => Array.from({ length: end - first }, (_, index) => first + index);

describe('pages ahead', () => {
  it('returns the pages that wait as one, in their order', async () => {
    const ahead = new PagesAhead(pagesOf([...full(3), page(30, 2, true)]), room);
    expect(positions(await ahead.next())).toEqual(upTo(0, 10));
    await settled();
    const waiting = await ahead.next();
    expect(positions(waiting)).toEqual(upTo(10, 32));
    expect(waiting).toMatchObject({ next: '31', upToDate: true });
    expect(await ahead.next()).toBeUndefined();
  });

  it('reads no more than there is room for', async () => {
    const pages = pagesOf(full(9));
    let read = 0;
    const next = async () => {
      read += 1;
      return await pages.next();
    };
    const ahead = new PagesAhead({ next }, room);
    await ahead.next();
    await settled();
    expect(read).toBe(1 + 3);
  });

  it('adds nothing to a page that ended early, because it is large', async () => {
    const ahead = new PagesAhead(pagesOf([page(0, 10), page(10, 4), page(14, 10)]), room);
    await ahead.next();
    await settled();
    expect(positions(await ahead.next())).toEqual(upTo(10, 14));
    expect(positions(await ahead.next())).toEqual(upTo(14, 24));
  });

  it('returns what was read before it rejects', async () => {
    const failing = pagesOf(full(2), () => {
      throw new Error('The feed cannot be read.');
    });
    const ahead = new PagesAhead(failing, room);
    await ahead.next();
    await settled();
    expect(positions(await ahead.next())).toEqual(upTo(10, 20));
    await expect(ahead.next()).rejects.toThrow('The feed cannot be read.');
  });
});
