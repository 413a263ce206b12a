import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import { asAdmin, freshDatabase, type FreshDatabase } from './databases.js';
import { Proxy } from './proxy.js';
import { until } from './until.js';

describe('a proxy before a server', () => {
  let database: FreshDatabase;
  let proxy: Proxy;
  const clients: Client[] = [];
  beforeEach(async () => {
    database = await freshDatabase();
    proxy = await Proxy.before({ port: Number(new URL(database.url).port) });
    await asAdmin(database.url, (client) => client.query('create table t (key text primary key)'));
  });
  afterEach(async () => {
    await Promise.allSettled(clients.splice(0).map((client) => client.end()));
    await proxy[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  async function connected(): Promise<Client> {
    const client = new Client({ connectionString: proxy.url(database.url) });
    client.on('error', () => undefined); // a broken connection rejects its queries too
    await client.connect();
    clients.push(client);
    return client;
  }
  const put = (client: Client, key: string): Promise<unknown> =>
    client.query('insert into t values ($1)', [key]);
  const keys = async (): Promise<readonly string[]> =>
    asAdmin(database.url, async (client) =>
      (await client.query<{ key: string }>('select key from t order by key')).rows.map(({ key }) => key),
    );

  it('forwards in both directions', async () => {
    const client = await connected();
    await put(client, 'a');
    expect(await keys()).toEqual(['a']);
    expect(proxy.connections).toBe(1);
    await client.end();
    await until('the connection is closed', () => proxy.connections === 0);
  });

  it('cuts every connection, and accepts new ones', async () => {
    const client = await connected();
    proxy.cut();
    await expect(put(client, 'a')).rejects.toThrow(/terminated|not queryable|ECONNRESET|EPIPE/);
    await put(await connected(), 'b');
    expect(await keys()).toEqual(['b']);
  });

  it('refuses new connections, keeps the existing ones, and later accepts new ones', async () => {
    const client = await connected();
    await proxy.refuse();
    await expect(connected()).rejects.toThrow('ECONNREFUSED');
    await put(client, 'a');
    await proxy.pass();
    await put(await connected(), 'b');
    expect(await keys()).toEqual(['a', 'b']);
  });

  it('holds all data, on old connections and on new ones, and forwards it later', async () => {
    const client = await connected();
    proxy.hold();
    const answers: string[] = [];
    const old = put(client, 'old').then(() => answers.push('old'));
    const fresh = connected().then((other) => put(other, 'fresh'));
    await until('the proxy has taken the second connection', () => proxy.connections === 2);
    expect(await keys()).toEqual([]);
    expect(answers).toEqual([]);
    await proxy.pass();
    await Promise.all([old, fresh]);
    expect(await keys()).toEqual(['fresh', 'old']);
  });

  it('stops to forward on existing connections, and accepts new ones', async () => {
    const client = await connected();
    proxy.forget();
    let answered = false;
    const old = put(client, 'old').finally(() => (answered = true));
    await put(await connected(), 'fresh');
    await proxy.pass();
    expect(await keys()).toEqual(['fresh']);
    expect(answered).toBe(false);
    proxy.cut();
    await expect(old).rejects.toThrow(/terminated|ECONNRESET/);
  });

  it('loses the answer to a request, with the connection', async () => {
    const client = await connected();
    await put(client, 'before');
    const lost = proxy.loseAnswer('lost');
    await expect(put(client, 'lost')).rejects.toThrow(/terminated|ECONNRESET/);
    await lost;
    expect(await keys()).toEqual(['before', 'lost']);
    await put(await connected(), 'lost later'); // only once
  });

  it('loses the answer to the commit if the request is part of a transaction', async () => {
    const client = await connected();
    const lost = proxy.loseAnswer('lost');
    await client.query('begin');
    await put(client, 'lost');
    await expect(client.query('commit')).rejects.toThrow(/terminated|ECONNRESET/);
    await lost;
    expect(await keys()).toEqual(['lost']);
  });

  it('loses a request before it is executed', async () => {
    const client = await connected();
    const lost = proxy.loseRequest('lost');
    await expect(put(client, 'lost')).rejects.toThrow(/terminated|ECONNRESET/);
    await lost;
    expect(await keys()).toEqual([]);
  });

  it('ends a session as it begins', async () => {
    const ended = proxy.endNextAtOnce();
    const client = new Client({ connectionString: proxy.url(database.url) });
    const error = new Promise((resolve) => client.once('error', resolve));
    client.on('error', () => undefined);
    await client.connect();
    expect(await error).toMatchObject({ severity: 'FATAL', code: '57P01' });
    await ended;
    await put(await connected(), 'a');
    expect(await keys()).toEqual(['a']);
  });

  it('connects new connections to another server', async () => {
    const client = await connected();
    proxy.retarget({ port: 1 });
    await put(client, 'still here');
    await expect(connected()).rejects.toThrow(/terminated|ECONNRESET/);
  });
});
