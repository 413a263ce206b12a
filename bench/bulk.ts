/**
 * The speed of `loadFrom`: on Postgres beside `COPY` into a table of the same shape with the same
 * indexes, and on the JSON file.
 */
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { defineState, JsonFileProvider, openStorage, type KeyValueStorage } from '@kvent/key-value-storage';
import { encodeKey } from '@kvent/key-value-storage/provider';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { DatabaseServer } from './database-server.js';
import { product } from './product.js';
import { median, percentile } from './statistics.js';
import { columns } from './table.js';

const copyAim = 0.5;
const fileAim = 100_000;

export interface BulkResult {
  readonly rows: number;
  readonly copyRowsPerSecond: number;
  readonly postgresRowsPerSecond: number;
  /** Rows per second of `loadFrom`, as a multiple of those of `COPY` in the same round. */
  readonly ratio: number;
  readonly quartiles: readonly [number, number];
  readonly fileRowsPerSecond: number;
}

interface Options {
  readonly directory: string;
  readonly server: DatabaseServer;
  readonly rounds: number;
  readonly rows: number;
}

export async function measureBulk({ directory, server, rounds, rows }: Options): Promise<BulkResult> {
  const schema = 'kvent_bulk';
  const copied: number[] = [];
  const loaded: number[] = [];
  const onFile: number[] = [];
  await server.create(schema);
  const client = new Client({ connectionString: server.url });
  try {
    await client.connect();
    await using storage = await openStorage(new PostgresProvider({ url: server.url, schema }));
    await using files = await openStorage(new JsonFileProvider({ directory: join(directory, 'bulk') }));
    for (let round = 0; round < rounds; round += 1) {
      const works = [
        async () => copied.push(await rate(rows, () => copy(client, schema, `copied-${round}`, rows))),
        async () => loaded.push(await rate(rows, () => load(storage, `loaded-${round}`, rows))),
      ];
      for (const work of round % 2 === 0 ? works : works.toReversed()) {
        await work();
        await server.settle();
      }
      onFile.push(await rate(rows, () => load(files, `loaded-${round}`, rows)));
    }
  } finally {
    await client.end();
    await server.drop(schema);
  }
  const ratios = loaded.map((each, round) => each / (copied[round] as number));
  return {
    rows,
    copyRowsPerSecond: median(copied),
    postgresRowsPerSecond: median(loaded),
    ratio: median(ratios),
    quartiles: [percentile(ratios, 0.25), percentile(ratios, 0.75)],
    fileRowsPerSecond: median(onFile),
  };
}

/** Rows per second. */
async function rate(rows: number, work: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  await work();
  return (rows * 1_000) / (performance.now() - begun);
}

async function load(storage: KeyValueStorage, name: string, rows: number): Promise<void> {
  function* items() {
    for (let index = 0; index < rows; index += 1) yield { key: `product-${index}`, value: product };
  }
  const { loaded } = await storage.store(defineState<typeof product>(name)).loadFrom(items());
  if (loaded !== rows) throw new Error(`loadFrom has stored ${loaded} of ${rows} rows.`);
}

async function copy(client: Client, schema: string, entity: string, rows: number): Promise<void> {
  const at = new Date().toISOString();
  function* lines() {
    for (let index = 0; index < rows; index += 1) {
      // backslashes are escaped in the format of COPY
      const value = JSON.stringify(product).replaceAll('\\', '\\\\');
      yield `shared\tstate:state\t${entity}\t${encodeKey(`product-${index}`)}\t${index + 1}\t${at}\t${value}\n`;
    }
  }
  const text = `copy ${schema}.row (database, container, entity, key, version, updated_at, value) from stdin`;
  const stream = client.query(copyFrom(text));
  await pipeline(Readable.from(inBlocks(lines())), stream);
  if (stream.rowCount !== rows) throw new Error(`COPY has stored ${stream.rowCount} of ${rows} rows.`);
}

/** A write for each line would cost more than the line. */
function* inBlocks(lines: Iterable<string>): Generator<string> {
  let block = '';
  for (const line of lines) {
    block += line;
    if (block.length < 65_536) continue;
    yield block;
    block = '';
  }
  if (block !== '') yield block;
}

export function bulkTable(result: BulkResult): string {
  const { rows, copyRowsPerSecond, postgresRowsPerSecond, ratio, quartiles, fileRowsPerSecond } = result;
  const whole = (value: number): string => Math.round(value).toLocaleString('en');
  const [low, high] = quartiles.map((each) => each.toPrecision(3));
  const reached = (isReached: boolean): string => (isReached ? 'reached' : 'MISSED');
  return [
    `loadFrom of ${rows.toLocaleString('en')} rows; × COPY into a table of the same shape`,
    ...columns([
      ['', 'rows/s', '×', 'quartiles'],
      ['COPY (pg-copy-streams), Postgres', whole(copyRowsPerSecond), '1.00', ''],
      ['kvent, Postgres', whole(postgresRowsPerSecond), ratio.toPrecision(3), `${low}–${high}`],
      ['kvent, JSON file', whole(fileRowsPerSecond), '', ''],
    ]).map((line) => `  ${line}`),
    `  aim: ≥ ${copyAim} ×, ${reached(ratio >= copyAim)} by kvent, Postgres`,
    `  aim: ≥ ${fileAim.toLocaleString('en')} rows/s, ${reached(fileRowsPerSecond >= fileAim)} by kvent, JSON file`,
    '',
  ].join('\n');
}
