/** Emmett's event store on Postgres: the peer for event sourcing in TypeScript. */
import { getPostgreSQLEventStore, readMessagesBatch } from '@event-driven-io/emmett-postgresql';
import type { Event } from '@event-driven-io/emmett';
import { Pool } from 'pg';
import type { Opening } from '../contender.js';
import { poolSize } from '../database-server.js';
import { keyAt, product, type Product } from '../product.js';
import {
  bulkIds,
  event as changed,
  hundred,
  longId,
  once,
  pageEvents,
  pageStarts,
  readEvents,
  readIds,
  streamIds,
  Versions,
} from '../stream-work.js';

type Changed = Event<'changed', { readonly [K in keyof Product]: Product[K] }>;

/** What its read of all messages needs of a connection. */
type Executor = Parameters<typeof readMessagesBatch>[0];

export const openEmmett: Opening = async ({ database, longEvents }) => {
  const { url = '', schema = '' } = database ?? {};
  const pool = new Pool({ connectionString: url, max: poolSize, options: `-c search_path=${schema}` });
  const store = getPostgreSQLEventStore(url, { connectionOptions: { pool } });
  const versions = new Versions();
  const append = async (id: string, events: readonly Changed[]): Promise<void> => {
    const before = versions.of(id);
    const expectedStreamVersion = before === 0 ? 'STREAM_DOES_NOT_EXIST' : BigInt(before);
    await store.appendToStream<Changed>(id, [...events], { expectedStreamVersion });
    versions.add(id, events.length);
  };
  for (const id of readIds)
    for (let index = 0; index < readEvents; index += hundred.length) await append(id, hundred);
  const executor = { query: async (text: string) => await pool.query(text) } as unknown as Executor;
  const readPage = async (after: bigint = 0n) => {
    const page = await readMessagesBatch<Changed>(executor, { after, batchSize: pageEvents });
    return { events: page.messages.length, next: page.currentGlobalPosition };
  };
  let starts: readonly (bigint | undefined)[] = [];
  // Filled at the first use: other suites do not read all messages.
  const filled = once(async () => {
    for (let index = 0; index < longEvents; index += hundred.length) await append(longId, hundred);
    starts = await pageStarts('Emmett', Math.floor(longEvents / pageEvents), readPage);
  });
  return {
    name: 'Emmett',
    traits: {
      survives: 'power loss',
      comparesAndSets: true,
      returns: 'fresh copy',
      note: '@event-driven-io/emmett-postgresql',
    },
    verbs: {
      append: (call) => append(keyAt(streamIds, call), [changed]),
      'append 100': (call) => append(keyAt(bulkIds, call), hundred),
      'read 1,000': async (call) => {
        const { events } = await store.readStream<Changed>(keyAt(readIds, call));
        if (events.filter(({ data }) => data.stock === product.stock).length !== readEvents)
          throw new Error('Events are missing.');
      },
      'feed page': async (call) => {
        await filled();
        const { events } = await readPage(keyAt(starts, call));
        if (events !== pageEvents) throw new Error('Events are missing.');
      },
    },
    verify: () =>
      versions.assertLengths('Emmett', async (id) =>
        Number((await store.readStream(id)).currentStreamVersion),
      ),
    close: async () => {
      await store.close();
      await pool.end();
    },
  };
};
