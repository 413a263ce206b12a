/**
 * The base of the feed: what is added to the ids of transactions, and up to which number of the
 * sequence. It is a constant in the texts of the statements, so raising it has to reach statements,
 * transactions and processes that go on with the former one (decision 20):
 *
 * - The table is locked against writers first: so no transaction is open that has written with the
 *   former base, and none can write before the commit of the one that raises it.
 * - Then the sequence moves on by a span. A statement that has waited for the lock, or comes from a
 *   process that does not know yet, gets a number of the new span, and fails (`assertBase`).
 * - The sequence moves before the base and after it, and is read before the base: so a base that
 *   was read in between is refused too.
 */
import { isLockTimeout, unavailable } from '../connections/failure.js';
import type { Session } from '../connections/session.js';
import type { Columns } from '../sql/decode-row.js';
import { feedSpan } from '../sql/feed-columns.js';
import { lockImports } from '../sql/administration-statements.js';
import {
  advanceFeedSequence,
  lockWriters,
  raiseFeedBase,
  readFeedBase,
  setLockTimeout,
} from '../sql/feed-statements.js';
import type { Dialect } from '../sql/statement.js';

export type FeedBase = Pick<Dialect, 'feedBase' | 'feedBaseUntil'>;

/** From the base and the last number of the sequence, which is null where there is none yet. */
export const feedBaseOf = ([base, last]: Columns): FeedBase => ({
  feedBase: base ?? '0',
  feedBaseUntil: String((BigInt(last ?? 0) / feedSpan + 1n) * feedSpan),
});

export async function presentFeedBase({ run }: Pick<Session, 'run'>, dialect: Dialect): Promise<FeedBase> {
  const [line = []] = await run(readFeedBase(dialect), [], 'read');
  return feedBaseOf(line);
}

interface Raising {
  /** In messages. */
  readonly name: string;
  readonly lockTimeoutMs: number;
}

/**
 * In a transaction: later transactions have numbers above this one, wherever they run, and so has
 * the rest of this one. `STORAGE_UNAVAILABLE` where another transaction has written and is open for
 * longer than `lockTimeoutMs`.
 */
export async function raiseFeedBaseTo(
  transaction: bigint,
  session: Session,
  dialect: Dialect,
  { name, lockTimeoutMs }: Raising,
): Promise<FeedBase> {
  await session.run(lockImports(dialect), [], 'read');
  await session.run(setLockTimeout(), [String(lockTimeoutMs)], 'read');
  try {
    await session.run(lockWriters(dialect), [], 'write');
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    throw unavailable(
      `${name}: rows that stand further ahead in the feed than this table counts need its writers to wait for a moment, and a transaction that has written was open for longer than lockTimeoutMs (${lockTimeoutMs} ms)`,
      error,
    );
  }
  const advance = advanceFeedSequence(dialect);
  await session.run(advance, [String(feedSpan)], 'write');
  await session.run(raiseFeedBase(dialect), [transaction.toString()], 'write');
  await session.run(advance, [String(feedSpan)], 'write');
  return await presentFeedBase(session, dialect);
}
