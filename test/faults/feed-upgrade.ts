/**
 * `npm run feed-upgrade -- --events 1000000`: opens a table of Postgres and a directory that are
 * older than the feed. A process is killed while it gives the stored events their positions; the
 * next one goes on. Prints how long the longest write of another connection took beside it;
 * fails if an event is missing, comes twice, or is out of the order of its stream.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { EventStore } from '@kvent/event-store/core';
import { JsonFileProvider, MemoryProvider } from '@kvent/key-value-storage';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import type { RawRow, StorageProvider } from '@kvent/key-value-storage/provider';
import { PostgresProvider } from '@kvent/key-value-postgres';
import { Client } from 'pg';
import { PostgresServer } from '../postgres/server.js';
import { Moves } from './feed-work.js';

const streamEvents = 100;
const database = 'tenant:acme';
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const secondsSince = (begun: number): string => ((performance.now() - begun) / 1_000).toFixed(1);

/** Opens the table, which gives its events their positions. */
async function openTable(url: string, warn: (message: string) => void): Promise<void> {
  const provider = new PostgresProvider({ url, warn });
  await provider.open();
  await provider.close();
}

async function upgradeTable(events: number): Promise<void> {
  await using server = await PostgresServer.create();
  const url = server.url();
  await fill(new PostgresProvider({ url }), events);
  const client = new Client(url);
  await client.connect();
  try {
    // as a release without the feed has left it
    await client.query(`alter table kvent.row drop column feed_transaction, drop column feed_sequence;
      drop sequence kvent.row_feed_seq, kvent.row_feed_base;
      delete from kvent.kvent_migrations where name like 'KventFeed%'`);
    await client.query('vacuum analyze kvent.row');
    const begun = performance.now();
    const writes = new Writes(client);
    await killAtFirstProgress(url);
    print(`killed after ${secondsSince(begun)} s`);
    await openTable(url, print);
    const seconds = secondsSince(begun);
    print(
      `Postgres: ${events} events in ${seconds} s; the longest write beside it ${await writes.longest()} ms`,
    );
  } finally {
    await client.end();
  }
  await compare(new PostgresProvider({ url }), events);
}

/** Another process begins, and is killed once it has reported progress. */
async function killAtFirstProgress(url: string): Promise<void> {
  const self = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [...process.execArgv, self, '--open', url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  for await (const line of createInterface(child.stdout)) {
    print(line);
    break;
  }
  child.kill('SIGKILL');
  await exited;
}

/** Writes a row of the table again and again. */
class Writes {
  #longestMs = 0;
  #isEnded = false;
  readonly #done: Promise<void>;

  constructor(client: Client) {
    this.#done = this.#run(client);
  }

  async longest(): Promise<string> {
    this.#isEnded = true;
    await this.#done;
    return this.#longestMs.toFixed(0);
  }

  async #run(client: Client): Promise<void> {
    while (!this.#isEnded) {
      const begun = performance.now();
      await client.query(
        "update kvent.row set updated_at = updated_at where database = 'tenant:acme' and container = 'state:state' and entity = 'written'",
      );
      this.#longestMs = Math.max(this.#longestMs, performance.now() - begun);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

async function upgradeDirectory(events: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'kvent-upgrade-'));
  try {
    await fill(new JsonFileProvider({ directory }), events);
    const marker = join(directory, '.kvent.json');
    const { feed: _, ...before } = JSON.parse(await readFile(marker, 'utf8')) as Record<string, unknown>;
    await writeFile(marker, `${JSON.stringify(before)}\n`);
    for (const name of await readdir(directory))
      if (name.startsWith('.feed')) await rm(join(directory, name));
    const begun = performance.now();
    const provider = new JsonFileProvider({ directory, warn: print });
    await provider.open();
    await provider.close();
    print(`JSON file: ${events} events in ${secondsSince(begun)} s`);
    await compare(new JsonFileProvider({ directory }), events);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Rows of streams without positions, and one row that is written during the upgrade. */
async function fill(provider: StorageProvider, events: number): Promise<void> {
  const begun = performance.now();
  const template = await rowsOfOneStream();
  await provider.open();
  await provider.administration.import(database, rows(template, Math.ceil(events / streamEvents)));
  await provider.close();
  print(`${events} events stored in ${secondsSince(begun)} s`);
}

function* rows(template: readonly RawRow[], streams: number): Generator<RawRow> {
  for (let stream = 0; stream < streams; stream += 1)
    for (const each of template) {
      const { position: _, ...row } = each.row;
      yield { ...each, entity: `s-${stream}`, row };
    }
  const value = { kind: 'json', text: '1' } as const;
  const row = { version: '1', value, updatedAt: Date.now() };
  yield { container: 'state:state', entity: 'written', key: 'k', row };
}

/** The events of a stream, as the library stores them. */
async function rowsOfOneStream(): Promise<readonly RawRow[]> {
  const provider = new MemoryProvider();
  await using storage = await openKeyValueStorage({ provider, tenant: () => undefined });
  const moves = Array.from({ length: streamEvents }, (_, n) => ({ type: 'moved', data: { n } }) as const);
  await new EventStore(storage).stream(Moves).forTenant('acme').append('s', moves, { expectedVersion: 0 });
  const found: RawRow[] = [];
  for await (const each of provider.administration.export(database))
    if (each.container.startsWith('event:')) found.push(each);
  return found;
}

async function compare(provider: StorageProvider, events: number): Promise<void> {
  await using storage = await openKeyValueStorage({ provider, tenant: () => undefined });
  const store = new EventStore(storage);
  const versions = new Map<string, number>();
  let read = 0;
  for (let after: string | undefined; ;) {
    const page = await store.readFeed({ streams: [Moves], tenants: 'all', after });
    for (const { stream, version } of page.events) {
      const last = versions.get(stream) ?? 0;
      if (version !== last + 1) throw new Error(`${stream}: ${version} follows ${last}.`);
      versions.set(stream, version);
      read += 1;
    }
    if (page.upToDate && page.heldBackMs === undefined) break;
    after = page.next;
  }
  if (read !== events) throw new Error(`The feed has ${read} of ${events} events.`);
  print(`the feed has all ${read} events once, each stream in order`);
}

const { values } = parseArgs({
  options: { events: { type: 'string', default: '1000000' }, open: { type: 'string' } },
});
if (values.open === undefined) {
  const events = Number(values.events);
  await upgradeTable(events);
  await upgradeDirectory(events);
} else await openTable(values.open, print);
