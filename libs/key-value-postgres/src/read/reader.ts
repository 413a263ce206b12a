/** Reads and scans as statements, on the pool or in one transaction. */
import {
  assertReadBytes,
  type Address,
  type CountRange,
  type ProviderReadOptions,
  type ReadResult,
  type ScanPage,
  type ScanRange,
} from '@kvent/key-value-storage/provider';
import { errorOf } from '../connections/failure.js';
import { addressColumns } from '../sql/array-parameters.js';
import { decodeRow, type Columns } from '../sql/decode-row.js';
import {
  countParameters,
  countRange,
  decodeMany,
  decodeManyLine,
  decodeScan,
  decodeScanLine,
  decodeSpace,
  decodeSpaceLine,
  readClock,
  mayBeLarge,
  readMany,
  readManyAsLine,
  readManyWithin,
  readOne,
  readSpace,
  readSpaceAsLine,
  readSpaceWithin,
  scanAsLine,
  scanOne,
  scanParameters,
  spaceParameters,
} from '../sql/read-statements.js';
import { decodeParts, isInParts, partParameters, receivePart, scanInParts } from '../sql/scan-parts.js';
import { milliseconds, type Dialect, type Statement } from '../sql/statement.js';

type Values = 'include' | 'omit';
type Consistency = 'current' | 'stale';

/**
 * Reads of more addresses let the server add up what the values take: up to this, even the largest
 * values are a bounded answer, and adding up costs every read.
 */
const plainReadMax = 32;

interface ReaderOptions {
  /** Of the provider, in messages. */
  readonly name: string;
  readonly dialect: Dialect;
  /** The time of a given clock, as the last parameter of a statement. */
  readonly time: () => readonly number[];
  readonly run: (
    statement: Statement,
    parameters: readonly unknown[],
    consistency: Consistency,
  ) => Promise<readonly Columns[]>;
  /** The time of a read that is about to be sent, where it is known without a round trip. */
  readonly estimateTime?: () => number | undefined;
  /** Called with the time of each answer. */
  readonly observeTime?: (time: number) => void;
}

/** A statement; `decode` returns undefined without lines: then there is no time either. */
interface Query {
  readonly statement: Statement;
  readonly parameters: readonly unknown[];
  readonly decode: (lines: readonly Columns[]) => ReadResult | undefined;
  /** What is tried first; its `decode` returns undefined where the statement has to run. */
  readonly line?: Pick<Query, 'statement' | 'decode'>;
}

export class Reader {
  readonly #options: ReaderOptions;
  readonly #one: Readonly<Record<Values, Statement>>;
  readonly #many: Readonly<Record<Values, Statement>>;
  readonly #space: Readonly<Record<Values, Statement>>;
  readonly #manyWithin: Statement;
  readonly #spaceWithin: Statement;
  readonly #manyAsLine: Statement;
  readonly #spaceAsLine: Statement;
  readonly #clock: Statement;
  /** Of scans and counts: one text for each combination of bounds, direction and values. */
  readonly #scans = new Map<string, Statement>();
  /** How many are in flight. */
  #scansInParts = 0;

  constructor(options: ReaderOptions) {
    const { dialect } = options;
    this.#options = options;
    this.#one = { include: readOne(dialect, 'include'), omit: readOne(dialect, 'omit') };
    this.#many = { include: readMany(dialect, 'include'), omit: readMany(dialect, 'omit') };
    this.#space = { include: readSpace(dialect, 'include'), omit: readSpace(dialect, 'omit') };
    this.#manyWithin = readManyWithin(dialect);
    this.#spaceWithin = readSpaceWithin(dialect);
    this.#manyAsLine = readManyAsLine(dialect);
    this.#spaceAsLine = readSpaceAsLine(dialect);
    this.#clock = readClock(dialect);
  }

  async read(
    addresses: readonly Address[],
    { values = 'include', consistency = 'current' }: ProviderReadOptions,
  ): Promise<ReadResult> {
    if (addresses.length === 0) return { time: await this.time(consistency), rows: [] };
    const { statement, parameters, decode, line } = this.#queryFor(addresses, values);
    const estimated = this.#options.estimateTime?.();
    const joined = line && line.decode(await this.#run(line.statement, parameters, consistency));
    const read = joined ?? decode(await this.#run(statement, parameters, consistency));
    if (read !== undefined) return this.#observe(read);
    const time = estimated ?? (await this.time(consistency));
    return { time, rows: new Array<undefined>(addresses.length).fill(undefined) };
  }

  async scan(range: ScanRange): Promise<ScanPage> {
    const { consistency = 'current' } = range;
    const parameters = scanParameters(range);
    let alsoRead: Pick<ScanPage, 'alsoRead'> = {};
    if (!isInParts(range)) {
      if (range.alsoRead !== undefined)
        alsoRead = { alsoRead: (await this.read(range.alsoRead, { consistency })).rows };
    } else {
      const found = decodeParts(await this.#scanParts(range, consistency), range);
      if (found.alsoRead !== undefined) alsoRead = { alsoRead: found.alsoRead };
      if (found.page !== undefined) {
        this.#options.observeTime?.(found.page.time);
        return { ...found.page, time: Math.max(found.page.time, found.latest), ...alsoRead };
      }
    }
    const run = (how: 'line' | 'rows') => this.#run(this.#scanOf(range, how), parameters, consistency);
    const joined = mayBeLarge(range) ? decodeScanLine(await run('line'), range) : undefined;
    const page = joined ?? decodeScan(await run('rows'), range);
    const { time } = this.#observe({ time: page.time, rows: page.rows.map(({ row }) => row) });
    return { ...page, time, ...alsoRead };
  }

  async #scanParts(range: ScanRange, consistency: Consistency): Promise<readonly Columns[]> {
    const statement = this.#scanOf(range, 'parts');
    const isAlone = this.#scansInParts === 0;
    this.#scansInParts += 1;
    try {
      return await this.#run(
        isAlone ? { ...statement, received: receivePart } : statement,
        partParameters(range),
        consistency,
      );
    } finally {
      this.#scansInParts -= 1;
    }
  }

  async count(range: CountRange): Promise<number> {
    const shape = `count,${range.start !== undefined},${range.end !== undefined}`;
    let statement = this.#scans.get(shape);
    if (statement === undefined)
      this.#scans.set(shape, (statement = countRange(this.#options.dialect, range)));
    const [line] = await this.#run(statement, countParameters(range), range.consistency ?? 'current');
    return Number(line?.[0]);
  }

  /** The provider's time. */
  async time(consistency: Consistency = 'current'): Promise<number> {
    const [line] = await this.#run(this.#clock, [], consistency);
    return milliseconds(line?.[0] as string);
  }

  #queryFor(addresses: readonly Address[], values: Values): Query {
    const [first] = addresses;
    if (first !== undefined && addresses.length === 1)
      return {
        statement: this.#one[values],
        parameters: [first.database, first.container, first.entity, first.key],
        decode: ([line]) =>
          line && { time: milliseconds(line[0] as string), rows: [decodeRow(line, 1, values)] },
      };
    const isLarge = values === 'include' && addresses.length > plainReadMax;
    const bounded = <R extends ReadResult | undefined>(read: R): R => {
      if (read !== undefined) assertReadBytes(read.rows);
      return read;
    };
    const parameters = spaceParameters(addresses);
    if (parameters === undefined)
      return {
        statement: isLarge ? this.#manyWithin : this.#many[values],
        parameters: addressColumns(addresses),
        decode: (lines) => bounded(decodeMany(lines, addresses.length, values)),
        ...(isLarge && {
          line: {
            statement: this.#manyAsLine,
            decode: (lines: readonly Columns[]) => bounded(decodeManyLine(lines, addresses.length)),
          },
        }),
      };
    return {
      statement: isLarge ? this.#spaceWithin : this.#space[values],
      parameters,
      decode: (lines) => bounded(decodeSpace(lines, addresses, values)),
      ...(isLarge && {
        line: {
          statement: this.#spaceAsLine,
          decode: (lines: readonly Columns[]) => bounded(decodeSpaceLine(lines, addresses)),
        },
      }),
    };
  }

  #scanOf(range: ScanRange, how: 'line' | 'rows' | 'parts'): Statement {
    const { start, end, after, reverse = false, values = 'include' } = range;
    const shape = [
      start !== undefined,
      end !== undefined,
      after !== undefined,
      reverse,
      values,
      mayBeLarge(range),
      how,
    ].join();
    let statement = this.#scans.get(shape);
    if (statement === undefined) {
      const make = { parts: scanInParts, line: scanAsLine, rows: scanOne }[how];
      this.#scans.set(shape, (statement = make(this.#options.dialect, range)));
    }
    return statement;
  }

  /**
   * A commit may have read the clock after the statement began and before it read the rows: the
   * time is never before that of a row.
   */
  #observe<R extends ReadResult>(read: R): R {
    this.#options.observeTime?.(read.time);
    let { time } = read;
    for (const row of read.rows) if (row !== undefined && row.updatedAt > time) time = row.updatedAt;
    return time === read.time ? read : { ...read, time };
  }

  async #run(
    statement: Statement,
    parameters: readonly unknown[],
    consistency: Consistency,
  ): Promise<readonly Columns[]> {
    const { run, time, name } = this.#options;
    try {
      return await run(statement, [...parameters, ...time()], consistency);
    } catch (error) {
      throw errorOf(error, name, 'read');
    }
  }
}
