/**
 * Three servers, one set of data: a primary that acknowledges a commit when one of its two standbys
 * has it on disk too. So any one of the three may be lost with everything on it, and nothing that
 * was acknowledged is.
 *
 *   await using cluster = await Cluster.create(); cluster.primary.url(); await
 *   cluster.killPrimary(); const primary = await cluster.promoteTheMostAdvanced(); // the other
 *   standby follows it, and it waits for that one now
 */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asAdmin } from './databases.js';
import { PostgresServer } from './server.js';
import { until } from './until.js';

const quorum = "alter system set synchronous_standby_names = 'ANY 1 (s1, s2)'";
const promotionSeconds = 30;

export class Cluster implements AsyncDisposable {
  readonly #all: readonly PostgresServer[];
  #primary: PostgresServer;
  #standbys: readonly PostgresServer[];

  private constructor(primary: PostgresServer, standbys: readonly PostgresServer[]) {
    this.#all = [primary, ...standbys];
    this.#primary = primary;
    this.#standbys = standbys;
  }

  /**
   * The binaries from npm have no `pg_basebackup`: the standbys begin as copies of a primary that
   * stands still.
   */
  static async create(): Promise<Cluster> {
    const made: PostgresServer[] = [];
    try {
      const primary = await PostgresServer.create({ config: ["wal_keep_size = '256MB'"] });
      made.push(primary);
      await primary.stop();
      // one after the other: what fails leaves nobody behind
      for (const name of ['s1', 's2']) made.push(await standbyOf(primary, name));
      await primary.start();
      const cluster = new Cluster(primary, made.slice(1));
      await cluster.#requireQuorum();
      return cluster;
    } catch (error) {
      await dispose(made);
      throw error;
    }
  }

  get primary(): PostgresServer {
    return this.#primary;
  }

  get standbys(): readonly PostgresServer[] {
    return this.#standbys;
  }

  /** `kill -9` for all its processes; it stays dead. */
  async killPrimary(): Promise<void> {
    await this.#primary.kill();
  }

  /**
   * Makes the standby that has received most the new primary. Each acknowledged commit is on one of
   * the two, and what one has received the other has or has less of: so it is on that one.
   */
  async promoteTheMostAdvanced(): Promise<PostgresServer> {
    await Promise.all(
      this.#standbys.map((standby) =>
        answersTrue(standby, 'select (select count(*) from pg_stat_wal_receiver) = 0'),
      ),
    );
    const received = await Promise.all(this.#standbys.map(receivedBy));
    const first = received.reduce((best, lsn, index) => (lsn > (received[best] as bigint) ? index : best), 0);
    this.#primary = this.#standbys[first] as PostgresServer;
    this.#standbys = this.#standbys.filter((standby) => standby !== this.#primary);
    await tell(this.#primary, `select pg_promote(true, ${promotionSeconds})`);
    for (const standby of this.#standbys) await follow(standby, this.#primary);
    await this.#requireQuorum();
    return this.#primary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await dispose(this.#all);
  }

  /** Only once the standbys are there: without them no commit would end. */
  async #requireQuorum(): Promise<void> {
    const streaming = "select count(*) from pg_stat_replication where state = 'streaming'";
    await answersTrue(this.#primary, `select (${streaming}) = ${this.#standbys.length}`);
    await tell(this.#primary, quorum, 'select pg_reload_conf()');
    await answersTrue(
      this.#primary,
      "select (select count(*) from pg_stat_replication where sync_state = 'quorum') > 0",
    );
  }
}

function standbyOf(primary: PostgresServer, name: string): Promise<PostgresServer> {
  return PostgresServer.create({
    password: primary.password,
    config: [`primary_conninfo = ${connection(primary, name)}`, `cluster_name = '${name}'`],
    fill: async (dataDirectory) => {
      execFileSync('cp', ['-Rp', `${primary.dataDirectory}/.`, dataDirectory]);
      await writeFile(join(dataDirectory, 'standby.signal'), '');
    },
  });
}

/** Points a standby at another primary; it goes on from where it is. */
async function follow(standby: PostgresServer, primary: PostgresServer): Promise<void> {
  const [name] = await ask<{ name: string }>(standby, "select current_setting('cluster_name') as name");
  await tell(
    standby,
    `alter system set primary_conninfo = ${connection(primary, name?.name ?? '')}`,
    'select pg_reload_conf()',
  );
}

/** As a value of the configuration: a text in quotes. */
const connection = ({ port, password }: PostgresServer, name: string): string =>
  `'host=127.0.0.1 port=${port} user=kvent password=${password} application_name=${name}'`;

/** How far a standby has it on its disk. */
async function receivedBy(standby: PostgresServer): Promise<bigint> {
  const [row] = await ask<{ lsn: string }>(
    standby,
    "select (pg_last_wal_receive_lsn() - '0/0')::text as lsn",
  );
  return BigInt(row?.lsn ?? 0);
}

const answersTrue = (server: PostgresServer, condition: string): Promise<void> =>
  until(condition, async () => (await ask<{ yes: boolean }>(server, `${condition} as yes`))[0]?.yes === true);

const ask = <T extends object>(server: PostgresServer, sql: string): Promise<T[]> =>
  asAdmin(server.url(), async (client) => (await client.query<T>(sql)).rows);

async function tell(server: PostgresServer, ...statements: readonly string[]): Promise<void> {
  for (const statement of statements) await ask(server, statement);
}

async function dispose(servers: readonly PostgresServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
}
