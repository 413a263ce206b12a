/** Reads and scans as statements, on whatever runs them: the pool, or one transaction. */
import {
  assertReadBytes,
  type Address,
  type ProviderReadOptions,
  type ReadResult,
  type ScanPage,
  type ScanRange,
} from '@kvent/key-value-storage/provider';
import { decodeRow, type Columns } from '../sql/decode-row.js';
import {
  addressArrays,
  decodeMany,
  decodeScan,
  decodeSpace,
  readClock,
  mayBeLarge,
  readMany,
  readManyWithin,
  readOne,
  readSpace,
  readSpaceWithin,
  scanOne,
  scanParameters,
  spaceParameters,
} from '../sql/read-rows.js';
import { milliseconds, type Dialect, type Statement } from '../sql/statement.js';

type Values = 'include' | 'omit';
type Consistency = 'current' | 'stale';

/**
 * Reads of more addresses let the server add up what the values take: below, even the largest are a
 * bounded answer, and adding up costs everyone.
 */
const plainReadMax = 32;
const isLarge = (addresses: readonly Address[], values: Values): boolean =>
  values === 'include' && addresses.length > plainReadMax;

interface ReaderOptions {
  readonly dialect: Dialect;
  /** The time of a given clock, as the last parameter of a statement. */
  readonly time: () => readonly number[];
  readonly run: (
    statement: Statement,
    parameters: readonly unknown[],
    consistency: Consistency,
  ) => Promise<readonly Columns[]>;
  /** The time of a read that found nothing, where it can be told without asking. */
  readonly reckon?: (() => () => number | undefined) | undefined;
  /** Told the server's time whenever it is heard. */
  readonly heard?: (time: number) => void;
}

export class Reader {
  readonly #options: ReaderOptions;
  readonly #one: Readonly<Record<Values, Statement>>;
  readonly #many: Readonly<Record<Values, Statement>>;
  readonly #space: Readonly<Record<Values, Statement>>;
  readonly #manyWithin: Statement;
  readonly #spaceWithin: Statement;
  readonly #clock: Statement;
  /** One text for each combination of bounds, direction and values. */
  readonly #scans = new Map<string, Statement>();

  constructor(options: ReaderOptions) {
    const { dialect } = options;
    this.#options = options;
    this.#one = { include: readOne(dialect, 'include'), omit: readOne(dialect, 'omit') };
    this.#many = { include: readMany(dialect, 'include'), omit: readMany(dialect, 'omit') };
    this.#space = { include: readSpace(dialect, 'include'), omit: readSpace(dialect, 'omit') };
    this.#manyWithin = readManyWithin(dialect);
    this.#spaceWithin = readSpaceWithin(dialect);
    this.#clock = readClock(dialect);
  }

  async read(
    addresses: readonly Address[],
    { values = 'include', consistency = 'current' }: ProviderReadOptions,
  ): Promise<ReadResult> {
    const [first] = addresses;
    if (first === undefined) return { time: await this.time(consistency), rows: [] };
    if (addresses.length === 1) return await this.#readOne(first, values, consistency);
    const read = await this.#readMany(addresses, values, consistency);
    assertReadBytes(read.rows);
    return read;
  }

  async scan(ranges: readonly ScanRange[]): Promise<readonly ScanPage[]> {
    return await Promise.all(ranges.map(async (range) => await this.#scan(range)));
  }

  /** The provider's time. */
  async time(consistency: Consistency = 'current'): Promise<number> {
    const [line] = await this.#run(this.#clock, [], consistency);
    return milliseconds(line?.[0] as string);
  }

  async #readOne(
    { database, container, entity, key }: Address,
    values: Values,
    consistency: Consistency,
  ): Promise<ReadResult> {
    const reckon = this.#options.reckon?.();
    const [line] = await this.#run(this.#one[values], [database, container, entity, key], consistency);
    if (line === undefined) return await this.#nothing(1, reckon, consistency);
    return this.#seen({ time: milliseconds(line[0] as string), rows: [decodeRow(line, 1, values)] });
  }

  async #readMany(
    addresses: readonly Address[],
    values: Values,
    consistency: Consistency,
  ): Promise<ReadResult> {
    const ofSpace = spaceParameters(addresses);
    if (ofSpace !== undefined) return await this.#readSpace(ofSpace, addresses, values, consistency);
    const statement = isLarge(addresses, values) ? this.#manyWithin : this.#many[values];
    const lines = await this.#run(statement, addressArrays(addresses), consistency);
    return this.#seen(decodeMany(lines, addresses.length, values));
  }

  async #readSpace(
    parameters: readonly unknown[],
    addresses: readonly Address[],
    values: Values,
    consistency: Consistency,
  ): Promise<ReadResult> {
    const reckon = this.#options.reckon?.();
    const statement = isLarge(addresses, values) ? this.#spaceWithin : this.#space[values];
    const lines = await this.#run(statement, parameters, consistency);
    const read = decodeSpace(lines, addresses, values);
    return read === undefined ? await this.#nothing(addresses.length, reckon, consistency) : this.#seen(read);
  }

  async #nothing(
    count: number,
    reckon: (() => number | undefined) | undefined,
    consistency: Consistency,
  ): Promise<ReadResult> {
    return {
      time: reckon?.() ?? (await this.time(consistency)),
      rows: new Array<undefined>(count).fill(undefined),
    };
  }

  async #scan(range: ScanRange): Promise<ScanPage> {
    const lines = await this.#run(this.#scanOf(range), scanParameters(range), range.consistency ?? 'current');
    const page = decodeScan(lines, range);
    return {
      ...page,
      ...this.#seen({ time: page.time, rows: page.rows.map(({ row }) => row) }),
      rows: page.rows,
    };
  }

  #scanOf(range: ScanRange): Statement {
    const { start, end, after, reverse = false, values = 'include' } = range;
    const shape = [
      start !== undefined,
      end !== undefined,
      after !== undefined,
      reverse,
      values,
      mayBeLarge(range),
    ].join();
    let statement = this.#scans.get(shape);
    if (statement === undefined) this.#scans.set(shape, (statement = scanOne(this.#options.dialect, range)));
    return statement;
  }

  /**
   * A commit may have read the clock between the beginning of the statement and its look at the
   * rows.
   */
  #seen<R extends ReadResult>(read: R): R {
    this.#options.heard?.(read.time);
    let { time } = read;
    for (const row of read.rows) if (row !== undefined && row.updatedAt > time) time = row.updatedAt;
    return time === read.time ? read : { ...read, time };
  }

  async #run(
    statement: Statement,
    parameters: readonly unknown[],
    consistency: Consistency,
  ): Promise<readonly Columns[]> {
    return await this.#options.run(statement, [...parameters, ...this.#options.time()], consistency);
  }
}
