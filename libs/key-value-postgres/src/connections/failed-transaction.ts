/**
 * Whether a transaction of the application has failed. The server answers its commit with a
 * rollback and no error, and TypeORM does not look at that.
 */
import { send, type Client } from './connection.js';
import { refusalOf } from './failure.js';

/**
 * Asks the server only where the driver cannot know: an error that is undone at the moment is none,
 * and older releases of `pg`, `pg-native` and `pipeline` do not keep the state of the transaction.
 */
export async function hasFailed(client: Client): Promise<boolean> {
  if (isKnownToBeOpen(client)) return false;
  return await new Promise((resolve) =>
    send(
      client,
      { name: '', text: 'select', values: [] },
      () => resolve(false),
      // without an answer, the commit gets none either, and fails
      (error) => resolve(refusalOf(error) === '25P02'),
    ),
  );
}

const isKnownToBeOpen = (client: Client): boolean =>
  client.pipeline !== true &&
  client.readyForQuery === true &&
  (client._queryQueue ?? client.queryQueue)?.length === 0 &&
  client.getTransactionStatus?.() === 'T';
