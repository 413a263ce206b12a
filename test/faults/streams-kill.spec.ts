/**
 * `kill -9` during appends of a hundred events, on the JSON file and on Postgres: all hundred are
 * stored or none, and every acknowledged append is.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { openStorage, type StorageProvider } from '@kvent/key-value-storage/core';
import { JsonFileProvider } from '@kvent/key-value-storage';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { asAdmin, freshDatabase } from '../postgres/databases.js';
import { until } from '../postgres/until.js';
import { seededRandom, seedOfRun, isSoak, withSeed } from './seeded-random.js';
import {
  concurrency,
  deliveriesIn,
  effectsIn,
  openParcels,
  sendParcels,
  type Delivery,
} from './reaction-work.js';
import { StreamsProcess } from './streams-processes.js';
import { nothingSeen, streamsOf, verify } from './streams-work.js';

const rounds = isSoak ? 50 : 4;

describe('streams whose process is killed while it appends a hundred events at a time', () => {
  it('are whole on the JSON file, round after round', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kvent-streams-'));
    try {
      await killAgainAndAgain(directory, () => new JsonFileProvider({ directory }));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('are whole on Postgres, round after round', async () => {
    await using database = await freshDatabase();
    await killAgainAndAgain(
      database.url,
      () => new PostgresProvider({ url: database.url }),
      () =>
        until(
          'the server has ended the connections of the killed process',
          async () => (await othersAt(database.url)) === 0,
        ),
    );
  });
});

describe('a reaction whose process is killed while its handlers run', () => {
  it('handles each event, in the order of its stream; only what was running again, with the same id', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kvent-reaction-'));
    const directory = join(folder, 'store');
    const events = 12;
    const kills = isSoak ? 20 : 2;
    const seed = seedOfRun();
    try {
      await withSeed('A reaction did not survive', seed, async () => {
        const random = seededRandom(seed);
        const storage = await openParcels(new JsonFileProvider({ directory }));
        await sendParcels(storage, events);
        await storage[Symbol.asyncDispose]();
        for (let kill = 0; kill < kills; kill += 1)
          await killReaction(directory, folder, 1 + random.below(15));
        expect(await killReaction(directory, folder, Number.POSITIVE_INFINITY)).toBe('done');
        const last = new Map<string, Delivery>();
        let repetitions = 0;
        for (const delivery of deliveriesIn(folder)) {
          const before = last.get(delivery.stream);
          const next = (before?.version ?? 0) + 1;
          if (delivery.version === before?.version) {
            expect(delivery).toEqual(before);
            repetitions += 1;
          } else expect(delivery).toMatchObject({ version: next });
          last.set(delivery.stream, delivery);
        }
        expect(Array.from(last.values(), ({ version }) => version)).toEqual(Array(8).fill(events));
        expect(repetitions).toBeLessThanOrEqual(kills * concurrency);
        expect(effectsIn(folder)).toBe(8 * events);
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/**
 * Kills a process after so many handlers have begun; returns its last line. It never ends before.
 */
async function killReaction(where: string, folder: string, after: number): Promise<string | undefined> {
  await using child = new StreamsProcess(where, 'react', folder);
  let last: string | undefined;
  let count = 0;
  for (let line = await child.line(); line !== undefined; line = await child.line()) {
    last = line;
    count += 1;
    if (count === after) child.signal('SIGKILL');
  }
  if (last !== 'done') expect(count).toBeGreaterThanOrEqual(after);
  return last;
}

async function killAgainAndAgain(
  where: string,
  provider: () => StorageProvider,
  settled?: () => Promise<void>,
): Promise<void> {
  const seed = seedOfRun();
  await withSeed('Streams did not survive', seed, async () => {
    const random = seededRandom(seed);
    const seen = nothingSeen();
    for (let round = 1; round <= rounds; round += 1) {
      // every other round waits until the lock of the previous process has expired
      const waitsForHolder = round % 2 === 0;
      const acknowledged = await killOne(where, 5 + random.below(60), waitsForHolder ? 'holder' : undefined);
      await settled?.();
      await using storage = await openStorage(provider());
      const before = new Map(seen.appends);
      await verify(streamsOf(storage), seen);
      for (const [writer, append] of seen.appends) {
        const known = acknowledged.get(writer) ?? before.get(writer) ?? 0;
        // one more may be stored: each writer has one append in flight
        const allowed = [known, known + 1];
        expect({ round, writer, append, allowed, isAllowed: allowed.includes(append) }).toMatchObject({
          isAllowed: true,
        });
      }
    }
    expect(Math.min(...seen.appends.values())).toBeGreaterThan(0);
  });
}

/**
 * Kills a process after a number of acknowledgements, and not before one of a given writer. Returns
 * the last acknowledged append of each writer.
 */
async function killOne(
  where: string,
  enough: number,
  writer: string | undefined,
): Promise<ReadonlyMap<string, number>> {
  await using child = new StreamsProcess(where, 'fill');
  const acknowledged = new Map<string, number>();
  let count = 0;
  for (let line = await child.line(); line !== undefined; line = await child.line()) {
    const [, by = '', append] = /^(.*) (\d+)$/.exec(line) ?? [];
    acknowledged.set(by, Number(append));
    count += 1;
    if (count >= enough && (writer === undefined || acknowledged.has(writer))) child.signal('SIGKILL');
  }
  if (count < enough) throw new Error(`The process ended after ${count} of ${enough} acknowledgements.`);
  return acknowledged;
}

async function othersAt(url: string): Promise<number> {
  const sql = 'select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()';
  return await asAdmin(url, async (client) => (await client.query(sql)).rowCount ?? 0);
}
