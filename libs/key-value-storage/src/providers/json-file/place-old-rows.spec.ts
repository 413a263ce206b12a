import { setImmediate } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import type { Row } from '../../core/port/storage-provider.js';
import { HintSource } from '../../core/providers/hint-source.js';
import { RowTable } from '../../core/providers/row-table.js';
import { StoreFeed } from './database/store-feed.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { joinFeed } from './place-old-rows.js';

it('gives the event loop its turn while many rows join the feed', async () => {
  const table = new RowTable();
  const row: Row = { version: '1', value: { kind: 'json', text: '1' }, updatedAt: 1 };
  for (let key = 0; key < 25_000; key += 1)
    table.set({ container: 'event:x', entity: 'e', key: String(key) }, row);
  const verifyOwner = () => Promise.resolve();
  const feed = new StoreFeed({ fileSystem: nodeFileSystem, root: '.', verifyOwner, hints: new HintSource() });
  const joining = joinFeed([{ name: 'tenant:acme', table }], feed, true);
  let isOver = false;
  const joined = joining.then((result) => {
    isOver = true;
    return result;
  });
  let turns = 0;
  for (; !isOver; turns += 1) await setImmediate();
  expect(turns).toBeGreaterThan(5);
  expect((await joined).placed).toEqual(new Map([['tenant:acme', 25_000]]));
});
