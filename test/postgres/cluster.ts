/**
 * Three servers with the same data: a primary that acknowledges a commit when one of its two
 * standbys has it on disk too. So any one of them may be lost without losing an acknowledged
 * commit.
 *
 * ```ts
 * await using cluster = await Cluster.create();
 * cluster.primary.url();
 * await cluster.killPrimary();
 * const primary = await cluster.promoteTheMostAdvanced(); // the other standby follows it
 * ```
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
   * The binaries from npm have no `pg_basebackup`, so the standbys begin as copies of a stopped
   * primary.
   */
  static async create(): Promise<Cluster> {
    const created: PostgresServer[] = [];
    try {
      const primary = await PostgresServer.create({ config: ["wal_keep_size = '256MB'"] });
      created.push(primary);
      await primary.stop();
      // One after the other, so that a failure can stop all of them.
      for (const name of ['s1', 's2']) created.push(await standbyOf(primary, name));
      await primary.start();
      const cluster = new Cluster(primary, created.slice(1));
      await cluster.#requireQuorum();
      return cluster;
    } catch (error) {
      await dispose(created);
      throw error;
    }
  }

  get primary(): PostgresServer {
    return this.#primary;
  }

  get standbys(): readonly PostgresServer[] {
    return this.#standbys;
  }

  /** `kill -9` of all its processes. It is not started again. */
  async killPrimary(): Promise<void> {
    await this.#primary.kill();
  }

  /**
   * Promotes the standby that has received most. Each acknowledged commit is on one of the two, and
   * both received them in the same order, so it is on that one.
   */
  async promoteTheMostAdvanced(): Promise<PostgresServer> {
    await Promise.all(
      this.#standbys.map((standby) =>
        untilTrue(standby, 'select (select count(*) from pg_stat_wal_receiver) = 0'),
      ),
    );
    const received = await Promise.all(this.#standbys.map(receivedBy));
    const mostAdvanced = received.reduce(
      (best, lsn, index) => (lsn > (received[best] as bigint) ? index : best),
      0,
    );
    this.#primary = this.#standbys[mostAdvanced] as PostgresServer;
    this.#standbys = this.#standbys.filter((standby) => standby !== this.#primary);
    await execute(this.#primary, `select pg_promote(true, ${promotionSeconds})`);
    for (const standby of this.#standbys) await follow(standby, this.#primary);
    await this.#requireQuorum();
    return this.#primary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await dispose(this.#all);
  }

  /**
   * Requires the quorum after the standbys have connected: without them no commit would return.
   * Each connection learns of it by itself, so all of them are waited for.
   */
  async #requireQuorum(): Promise<void> {
    const streaming = "select count(*) from pg_stat_replication where state = 'streaming'";
    await untilTrue(this.#primary, `select (${streaming}) = ${this.#standbys.length}`);
    await execute(this.#primary, quorum, 'select pg_reload_conf()');
    await untilTrue(
      this.#primary,
      `select (select count(*) from pg_stat_replication where sync_state = 'quorum') = ${this.#standbys.length}`,
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

/** Connects a standby to another primary. It continues at its position. */
async function follow(standby: PostgresServer, primary: PostgresServer): Promise<void> {
  const [name] = await query<{ name: string }>(standby, "select current_setting('cluster_name') as name");
  await execute(
    standby,
    `alter system set primary_conninfo = ${connection(primary, name?.name ?? '')}`,
    'select pg_reload_conf()',
  );
}

/** The connection as a quoted value of the configuration. */
const connection = ({ port, password }: PostgresServer, name: string): string =>
  `'host=127.0.0.1 port=${port} user=kvent password=${password} application_name=${name}'`;

/** The position of the last record that the standby has received. */
async function receivedBy(standby: PostgresServer): Promise<bigint> {
  const [row] = await query<{ lsn: string }>(
    standby,
    "select (pg_last_wal_receive_lsn() - '0/0')::text as lsn",
  );
  return BigInt(row?.lsn ?? 0);
}

const untilTrue = (server: PostgresServer, condition: string): Promise<void> =>
  until(
    condition,
    async () => (await query<{ yes: boolean }>(server, `${condition} as yes`))[0]?.yes === true,
  );

const query = <T extends object>(server: PostgresServer, sql: string): Promise<T[]> =>
  asAdmin(server.url(), async (client) => (await client.query<T>(sql)).rows);

async function execute(server: PostgresServer, ...statements: readonly string[]): Promise<void> {
  for (const statement of statements) await query(server, statement);
}

async function dispose(servers: readonly PostgresServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
}
