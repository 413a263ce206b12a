/**
 * Keys and values are any text: a database or a connection that cannot hold any text is refused
 * when the provider opens, before it creates anything.
 */
import { describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { Client } from 'pg';
import { DataSource } from 'typeorm';
import { asAdmin, freshDatabase, withDatabase } from '../postgres/databases.js';
import { opened, textAt, write } from './rows.js';

/** A database of this encoding, for as long as something is done with it. */
async function inDatabase(encoding: string, work: (url: string) => Promise<void>): Promise<void> {
  await using fresh = await freshDatabase();
  const name = `${new URL(fresh.url).pathname.slice(1)}_${encoding.toLowerCase()}`;
  await asAdmin(fresh.url, async (client) => {
    await client.query(
      `create database ${name} template template0 encoding '${encoding}' locale_provider libc locale 'C'`,
    );
    try {
      await work(withDatabase(fresh.url, name));
    } finally {
      await client.query(`drop database ${name} with (force)`);
    }
  });
}

const schemas = async (url: string): Promise<number | null> =>
  await asAdmin(
    url,
    async (client) => (await client.query(`select from pg_namespace where nspname = 'kvent'`)).rowCount,
  );

describe('the encoding of a database', () => {
  it.each(['LATIN1', 'LATIN9', 'WIN1252', 'EUC_JP', 'SQL_ASCII'])(
    'that is %s is refused, and nothing is created',
    async (encoding) => {
      await inDatabase(encoding, async (url) => {
        const error = {
          code: 'INVALID_OPTION',
          message: expect.stringMatching(new RegExp(`needs .* UTF8; got encoding ${encoding}`)),
        };
        await expect(new PostgresProvider({ url }).open()).rejects.toMatchObject(error);
        const dataSource = await new DataSource({ type: 'postgres', url }).initialize();
        try {
          await expect(new PostgresProvider({ dataSource }).open()).rejects.toMatchObject(error);
        } finally {
          await dataSource.destroy();
        }
        expect(await schemas(url)).toBe(0);
      });
    },
  );

  it('that is UTF8 holds any text', async () => {
    await inDatabase('UTF8', async (url) => {
      const provider = new PostgresProvider({ url, poolSize: 1 });
      await opened(provider, async () => {
        await write(provider, '€\u{1f600}', '"ß\u{10ffff}"');
        expect(await textAt(provider, '€\u{1f600}')).toBe('"ß\u{10ffff}"');
      });
    });
  });
});

describe('the client_encoding of the application’s connections', () => {
  it('that is not UTF8 is refused', async () => {
    await using fresh = await freshDatabase();
    const dataSource = await new DataSource({
      type: 'postgres',
      url: fresh.url,
      extra: { max: 1 },
    }).initialize();
    try {
      const pool = (
        dataSource.driver as unknown as {
          readonly master: { connect(): Promise<Client & { release(): void }> };
        }
      ).master;
      const client = await pool.connect();
      await client.query(`set client_encoding to 'LATIN1'`);
      client.release();
      const provider = new PostgresProvider({ dataSource });
      await expect(provider.open()).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('got client_encoding LATIN1'),
      });
    } finally {
      await dataSource.destroy();
    }
  });
});
