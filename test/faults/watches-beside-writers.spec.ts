/**
 * Two watchers follow a thousand keys with `watch`, `watchMany` and `watchRange` while four writers
 * write them: on Postgres each is a process of its own; memory and the JSON file are of one
 * process. What is checked, and why a busy machine cannot make it fail: `watch-check.ts`. `npm run
 * watch-soak` does it for a minute and prints the delays.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { JsonFileProvider, MemoryProvider } from '@kvent/key-value-storage/core';
import { freshDatabase } from '../postgres/databases.js';
import { watchInOneProcess, watchInProcesses, type WatchReport } from './watch-run.js';
import { callers, watchers, writers } from './watch-work.js';
import { watchKinds } from './watch-view.js';

/** Of each caller. */
const writes = { inProcesses: 60, inOne: 20 };
const runOf = (amount: number) => ({ until: 'watchedWrites', amount }) as const;

describe('two watchers of a thousand keys that four writers write see every last state, none older than its read, none later than a poll', () => {
  it('in six processes on Postgres', async () => {
    await using database = await freshDatabase();
    assertSound(await watchInProcesses(database.url, runOf(writes.inProcesses)), writes.inProcesses);
  });

  it('in one process on a JSON file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kvent-watches-'));
    try {
      assertSound(
        await watchInOneProcess(new JsonFileProvider({ directory }), runOf(writes.inOne)),
        writes.inOne,
      );
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('in one process in memory', async () => {
    assertSound(await watchInOneProcess(new MemoryProvider(), runOf(writes.inOne)), writes.inOne);
  });
});

function assertSound({ writes: written, views }: WatchReport, writesOfCaller: number): void {
  expect(written).toBe(writers * callers * writesOfCaller);
  expect(views.map(({ kind, violations }) => ({ kind, ...violations }))).toEqual(
    Array.from({ length: watchers }, () =>
      watchKinds.map((kind) => ({ kind, lost: 0, back: 0, outdated: 0, late: 0 })),
    ).flat(),
  );
  // what was written was also shown: the keys that were absent first, and their states after
  expect(Math.min(...views.map(({ items }) => items))).toBeGreaterThan(1_000);
}
