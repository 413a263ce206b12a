/** Emmett's asynchronous projection of many streams into documents. */
import {
  getPostgreSQLEventStore,
  pongoMultiStreamProjection,
  postgreSQLEventStoreConsumer,
  type PostgresReadEventMetadata,
} from '@event-driven-io/emmett-postgresql';
import type { Event } from '@event-driven-io/emmett';
import { Pool } from 'pg';
import { poolSize } from '../database-server.js';

type Moved = Event<'moved', { readonly account: number }>;
type Balance = { readonly count: number };

const appendEvents = 100;

export interface EmmettProjection {
  readonly fill: (data: readonly Moved['data'][]) => Promise<void>;
  /** Folds all events into documents of a new collection; returns the sum of their counts. */
  readonly project: (collection: string) => Promise<number>;
  readonly close: () => Promise<void>;
}

export async function openEmmettProjection(database: {
  readonly url: string;
  readonly schema: string;
}): Promise<EmmettProjection> {
  const url = new URL(database.url);
  url.searchParams.set('options', `-c search_path=${database.schema}`);
  const connectionString = url.href;
  const pool = new Pool({ connectionString, max: poolSize });
  const store = getPostgreSQLEventStore(connectionString, { connectionOptions: { pool } });
  await store.schema.migrate();
  return {
    fill: async (data) => {
      for (let from = 0; from < data.length; from += appendEvents) {
        const events = data
          .slice(from, from + appendEvents)
          .map((each): Moved => ({ type: 'moved', data: each }));
        await store.appendToStream<Moved>(`stream-${from}`, events);
      }
    },
    project: async (collectionName) => {
      const consumer = postgreSQLEventStoreConsumer({
        connectionString,
        stopWhen: { noMessagesLeft: true },
        // no pause between pages, and pages as long as those of Kvent
        pulling: { batchSize: 1_000, pullingFrequencyInMs: 0 },
      });
      consumer.projector<Moved>({
        processorId: collectionName,
        projection: pongoMultiStreamProjection<Balance, Moved, PostgresReadEventMetadata, Moved>({
          collectionName,
          canHandle: ['moved'],
          getDocumentId: ({ data }) => String(data.account),
          initialState: () => ({ count: 0 }),
          evolve: ({ count }: Balance) => ({ count: count + 1 }),
        }),
      });
      await consumer.start();
      await consumer.close();
      const { rows } = await pool.query<{ sum: number }>(
        `select sum((data ->> 'count')::int)::int as sum from ${collectionName}`,
      );
      return rows[0]?.sum ?? 0;
    },
    close: async () => {
      await store.close();
      await pool.end();
    },
  };
}
