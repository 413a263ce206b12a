/**
 * Where a row stands in the feed: the transaction that wrote it, and a number of the table's
 * sequence. A dump restored into another server begins with low ids of transactions again, so
 * `feedBase` is added to them (decision 20).
 *
 * The base is a constant in the texts, and who raises it moves the sequence on as well, by a whole
 * span: so a statement with a former base gets a number that is none of its span, and fails. That
 * costs one comparison, with a number that the statement has anyway.
 */
import { feedEnd, partsOfPosition } from '@kvent/key-value-storage/provider';
import { concat, ge, plus } from './operators.js';
import type { Dialect } from './statement.js';
import { feedNames } from './table-name.js';

/** The numbers of transactions are below it: what a table has above it was put there by others. */
export const feedFirstEnd = partsOfPosition(feedEnd)[0];

/** The number of the present transaction. */
export const feedTransaction = ({ feedBase }: Pick<Dialect, 'feedBase'>): string =>
  `(pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8 ${plus} ${feedBase})`;

/** A new number, larger than any before. */
export const nextFeedSequence = ({ table }: Dialect): string =>
  `pg_catalog.nextval(${regclass(feedNames(table).sequence)})`;

/** The numbers of the sequence that go with one base; then it is read again. */
export const feedSpan = 2n ** 32n;

/** In the message of the deliberate failure, which operators see in the log of the server. */
export const formerBaseMark =
  'kvent: the base of the feed was raised, the statement runs again with the new one';

/**
 * 0, or a deliberate failure where the last number that the statement got from the sequence is of
 * another base; null is none.
 */
export const assertBase = ({ feedBaseUntil }: Dialect, last: string): string =>
  `case when ${last} ${ge} ${feedBaseUntil} then ('${formerBaseMark} ' ${concat} ${last})::pg_catalog.int4 else 0 end`;

/** The two numbers of a row, as `decodePosition` takes them. */
export const feedPosition = `feed_transaction::pg_catalog.text ${concat} '.' ${concat} feed_sequence::pg_catalog.text`;

/** A text as a constant. */
export const textOf = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** The name of a relation as a constant. */
export const regclass = (name: string): string => `${textOf(name)}::pg_catalog.regclass`;
