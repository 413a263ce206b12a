/**
 * Where a row stands in the feed: the transaction that wrote it, and a number of the table's
 * sequence. A dump restored into another server begins with low ids of transactions again, so
 * `feedBase` is added to them (decision 20).
 */
import { feedEnd, feedKeptEnd, partsOfPosition } from '@kvent/key-value-storage/provider';
import { plus } from './operators.js';
import type { Dialect } from './statement.js';
import { feedNames } from './table-name.js';

/** The numbers of transactions are below it: what a table has above it was put there by others. */
export const feedFirstEnd = partsOfPosition(feedEnd)[0];

/** The largest number of a transaction that imported rows keep. */
export const feedKeptMax = partsOfPosition(feedKeptEnd)[0] - 1n;

/** The number of the present transaction. */
export const feedTransaction = ({ feedBase }: Dialect): string =>
  `(pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8 ${plus} ${feedBase})`;

/** A new number, larger than any before. */
export const nextFeedSequence = ({ table }: Dialect): string =>
  `pg_catalog.nextval(${regclass(feedNames(table).sequence)})`;

/** The name of a relation as a constant. */
export const regclass = (name: string): string => `'${name.replaceAll("'", "''")}'::pg_catalog.regclass`;
