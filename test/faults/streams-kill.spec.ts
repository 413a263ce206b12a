/**
 * `kill -9` in the middle of appends of a hundred events: a hundred are there or none, and every
 * acknowledged one is; on the JSON file, and on Postgres.
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
import { seededRandom, seedOfRun, soaking, withSeed } from './seeded-random.js';
import { StreamsProcess } from './streams-processes.js';
import { look, nothingSeen, streamsOf } from './streams-work.js';

const rounds = soaking ? 50 : 4;

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
          'the server has ended what the dead process had on its way',
          async () => (await othersAt(database.url)) === 0,
        ),
    );
  });
});

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
      // in every other round not before the lock that the last process left behind is over
      const patient = round % 2 === 0;
      const acknowledged = await killOne(where, 5 + random.below(60), patient ? 'holder' : undefined);
      await settled?.();
      await using storage = await openStorage(provider());
      const before = new Map(seen.appends);
      await look(streamsOf(storage), seen);
      for (const [writer, append] of seen.appends) {
        const known = acknowledged.get(writer) ?? before.get(writer) ?? 0;
        // one more may be there: each writer has one on its way
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
 * Kills it after so many acknowledgements, and not before one of this writer's. Answers the last of
 * each.
 */
async function killOne(
  where: string,
  enough: number,
  patientFor: string | undefined,
): Promise<ReadonlyMap<string, number>> {
  await using child = new StreamsProcess(where, 'fill');
  const acknowledged = new Map<string, number>();
  let heard = 0;
  for (let line = await child.line(); line !== undefined; line = await child.line()) {
    const [, writer = '', append] = /^(.*) (\d+)$/.exec(line) ?? [];
    acknowledged.set(writer, Number(append));
    heard += 1;
    if (heard >= enough && (patientFor === undefined || acknowledged.has(patientFor)))
      child.signal('SIGKILL');
  }
  if (heard < enough)
    throw new Error(`The process ended by itself, after ${heard} of ${enough} acknowledgements.`);
  return acknowledged;
}

async function othersAt(url: string): Promise<number> {
  const sql = 'select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()';
  return await asAdmin(url, async (client) => (await client.query(sql)).rowCount ?? 0);
}
