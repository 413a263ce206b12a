/**
 * All limits of the library, the unit last in the name. They are the same on every provider, so
 * that data can move between any two, and are checked above the port, before any I/O (law 13).
 */
export const limits = {
  /** Encoded UTF-8 bytes of a database: `tenant:<id>` or `shared`. */
  databaseBytesMax: 128,
  /** Encoded UTF-8 bytes of a container, its kind included: `state:<name>`. */
  containerBytesMax: 128,
  /** Encoded UTF-8 bytes of an entity: a state's name, a stream's id. */
  entityBytesMax: 512,
  /** Encoded UTF-8 bytes of a key. */
  keyBytesMax: 1_024,
  /** UTF-8 bytes of one value as JSON text, or its bytes: 900 KB. */
  valueBytesMax: 900 * 1_024,
  /**
   * Levels of objects and arrays in the JSON text of one value; a date or a set takes a level or
   * two for its tag, a map three.
   */
  valueLevelsMax: 500,
  /** Rows that one batch checks or changes; a check and a change of one row count once. */
  batchEntriesMax: 900,
  /** Keys and values of one batch together: 8 MB. A coalesced group closes at the same size. */
  batchBytesMax: 8 * 1_024 * 1_024,
  /** Addresses of one consistent read. */
  readAddressesMax: 1_000,
  /** Encoded UTF-8 bytes of an event's metadata: 16 KB. */
  eventMetadataBytesMax: 16 * 1_024,
  /** Items of one page. */
  pageItemsMax: 1_000,
  /**
   * UTF-8 bytes of the values of one page, or of one read of several rows: 8 MB. A page then has
   * fewer items and a cursor, but one at least; a read is refused.
   */
  pageBytesMax: 8 * 1_024 * 1_024,
  /**
   * UTF-8 bytes of the values of one page of the feed: 4 MB. A page then has fewer entries, but one
   * at least.
   */
  feedPageBytesMax: 4 * 1_024 * 1_024,
  /** Keys that one `watchRange` follows. */
  watchedKeysMax: 10_000,
  /** Characters of a page's cursor: room for a key of `keyBytesMax`. */
  cursorCharactersMax: 1_400,
  /** Milliseconds that a row may live: a thousand years. */
  ttlMsMax: 1_000 * 365 * 24 * 60 * 60 * 1_000,
  /** UTF-8 bytes of an idempotency key. */
  idempotencyKeyBytesMax: 255,
  /**
   * Encoded UTF-8 bytes of the row key of an idempotency record: the address it belongs to and the
   * idempotency key.
   */
  recordKeyBytesMax: 1_300,
  /** Bytes of one line of a backup, unzipped: 4 MB. A row takes at most half of that. */
  backupLineBytesMax: 4 * 1_024 * 1_024,
  /** Bytes of one line of a journal or a snapshot of `JsonFileProvider`: 32 MB. */
  journalLineBytesMax: 32 * 1_024 * 1_024,
} as const;

export type LimitName = keyof typeof limits;
