/**
 * Statements in a transaction of the application, each behind a savepoint of its own: what the
 * server refuses is undone, and the transaction goes on.
 *
 * The savepoint, the statement and the release are one query of the driver. So no statement of the
 * application can come between and be undone too, and outside a transaction the server refuses all
 * three, with the first.
 */
import { statement } from '../sql/statement.js';
import type { Columns } from '../sql/decode-row.js';
import { send, takesOwnQueries, type Client } from './connection.js';
import { refusalOf } from './failure.js';
import { frameOf, type Framing, type Scope } from './scope.js';
import { TextQuery } from './text-query.js';

const savepoint = statement('savepoint', 'savepoint kvent');
const release = statement('release', 'release savepoint kvent');
const undo = statement('undo', 'rollback to savepoint kvent');

interface Sent {
  readonly text: string;
  readonly values: readonly unknown[];
  /** Statements that undo it, by failing. */
  readonly checks: readonly Framing[];
  /** Under row-level security. */
  readonly scope: Scope | undefined;
  /** Throws where nothing may be sent any more. */
  readonly assertPresent: () => void;
}

/** Rejects with the error of the driver. */
export async function sendBehindSavepoint(client: Client, sent: Sent): Promise<readonly Columns[]> {
  return sent.scope === undefined && !(await sendsOwnQueries(client))
    ? await sendOneByOne(client, sent)
    : await sendTogether(client, sent);
}

async function sendTogether(
  client: Client,
  { text, values, checks, scope, assertPresent }: Sent,
): Promise<readonly Columns[]> {
  const settings = scope === undefined ? { before: [], after: [] } : frameOf(scope, true);
  const frame = {
    before: [[savepoint, []] as const, ...settings.before],
    after: [...checks, ...settings.after, [release, []] as const],
  };
  assertPresent();
  return await new Promise((resolve, reject) =>
    send(client, { name: '', text, values, frame }, resolve, (error) => {
      if (isUndone(error)) sendNext(client, undoing());
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the driver's own error
      reject(error);
    }),
  );
}

/** For drivers that take no query objects of ours. */
async function sendOneByOne(
  client: Client,
  { text, values, checks, assertPresent }: Sent,
): Promise<readonly Columns[]> {
  const run = async (each: string, parameters: readonly unknown[] = []): Promise<readonly Columns[]> => {
    assertPresent();
    return await new Promise((resolve, reject) =>
      send(client, { name: '', text: each, values: parameters }, resolve, reject),
    );
  };
  await run(savepoint.text);
  try {
    const rows = await run(text, values);
    for (const [check, parameters] of checks) await run(check.text, parameters);
    await run(release.text);
    return rows;
  } catch (error) {
    if (isUndone(error)) await run(undo.text).then(async () => await run(release.text));
    throw error;
  }
}

/**
 * Whether the server has refused it and the transaction is there. It ends with a serialization
 * failure or a deadlock, and had ended before where it takes no savepoint.
 */
function isUndone(error: unknown): boolean {
  const state = refusalOf(error);
  return state !== undefined && !/^(40001|40P01|25P0.)$/.test(state);
}

function undoing(): TextQuery {
  const query = new TextQuery('', undo.text, [], () => undefined);
  query.after = [[release, []]];
  return query;
}

/**
 * Before the queries that wait: in a failed transaction the server would refuse them. The driver
 * has just got an error, and sends the next query when the server is ready.
 */
function sendNext(client: Client, query: TextQuery): void {
  const queue = client._queryQueue ?? client.queryQueue;
  if (queue === undefined) client.query(query);
  else queue.unshift(query);
}

/** Whether a wrapper of `query` sends our query objects, and not copies of them. */
async function sendsOwnQueries(client: Client): Promise<boolean> {
  if (!takesOwnQueries(client)) return false;
  const known = own.get(client);
  if (known !== undefined) return known;
  const isOwn = await new Promise<boolean>((resolve, reject) => {
    const query = new TextQuery('', 'select', [], (error, result) => {
      if (error === null || error === undefined) resolve(result === query.result);
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the driver's own error
      else reject(error);
    });
    client.query(query);
  });
  own.set(client, isOwn);
  return isOwn;
}

const own = new WeakMap<Client, boolean>();
