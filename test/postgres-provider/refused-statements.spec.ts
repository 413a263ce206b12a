/**
 * Triggers and row-level policies that a team puts on the table refuse what they refuse, and
 * nothing else: batches of others that travel in the same statement are done.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import type { StorageProvider } from '@kvent/key-value-storage/core';
import { CoalescingProvider, type Batch, type CommitResult } from '@kvent/key-value-storage/provider';
import { asAdmin, freshDatabase, type FreshDatabase } from '../postgres/databases.js';
import { addressOf, batchOf, opened, putBatch } from './rows.js';

const refusedTenant = 'tenant:refused';
const tenants = ['tenant:a', 'tenant:b', refusedTenant, 'tenant:c'];
const role = `refused_${process.pid}`;

const trigger = `
  create function public.refuse() returns trigger language plpgsql as $$
  begin if new.database = '${refusedTenant}' then raise exception 'not for this tenant'; end if; return new; end $$;
  create trigger refuse before insert or update on kvent.row for each row execute function public.refuse()`;
const lateTrigger = trigger.replace('before insert', 'after insert');
const constraint = `alter table kvent.row add constraint refuse check (database <> '${refusedTenant}') not valid`;
const divided = trigger.replace("raise exception 'not for this tenant'", 'perform 1 / 0');
const policy = `alter table kvent.row enable row level security; create policy allow on kvent.row using (true) with check (database <> '${refusedTenant}')`;

let database: FreshDatabase;
let url: string;
beforeAll(async () => {
  database = await freshDatabase();
  await opened(new PostgresProvider({ url: database.url, poolSize: 1 }), async () => await Promise.resolve());
  const address = new URL(database.url);
  [address.username, address.password] = [role, 'x'];
  url = address.href;
  await asAdmin(database.url, async (client) => {
    await client.query(`create role ${role} login password 'x'; grant usage on schema kvent to ${role};
      grant select, insert, update, delete on all tables in schema kvent to ${role};
      grant usage, select, update on all sequences in schema kvent to ${role}`);
  });
});
afterAll(async () => {
  await asAdmin(
    database.url,
    async (client) => await client.query(`drop owned by ${role} cascade; drop role ${role}`),
  );
  await database[Symbol.asyncDispose]();
});

const at = (key: string) => {
  const { container, entity } = addressOf(key);
  return { container, entity, key };
};
const shapes: Readonly<Record<string, (tenant: string, round: number) => Batch>> = {
  'values over whatever is there': (tenant) => putBatch('put', '1', undefined, tenant),
  'values where nothing is': (tenant, round) => putBatch(`new-${round}`, '1', 'absent', tenant),
  sums: (tenant) => batchOf([{ kind: 'sum', address: at('sum'), operand: 1n }], [], tenant),
  'rows created together': (tenant, round) =>
    batchOf(
      ['one', 'two'].map((key) => ({
        kind: 'put',
        address: at(`${key}-${round}`),
        value: { kind: 'json', text: '1' },
        ttl: 'never',
      })),
      ['one', 'two'].map((key) => ({ address: at(`${key}-${round}`), expected: 'absent' })),
      tenant,
    ),
  'batches of all kinds': (tenant) =>
    batchOf(
      [
        { kind: 'max', address: at('max'), operand: 1n },
        { kind: 'delete', address: at('none') },
      ],
      [{ address: at('absent'), expected: 'absent' }],
      tenant,
    ),
};

const outcomes = async (
  provider: StorageProvider,
  shape: (tenant: string, round: number) => Batch,
  round: number,
): Promise<CommitResult[]> =>
  (await Promise.all(tenants.map(async (tenant) => await provider.commit([shape(tenant, round)])))).flat();

describe.each([
  ['a trigger that raises', trigger, false],
  ['a trigger that runs after the row is written', lateTrigger, false],
  ['a trigger that fails', divided, undefined],
  ['a constraint', constraint, undefined],
  ['a policy of rows', policy, false],
])('%s', (_, sql, retryable) => {
  beforeAll(async () => {
    await asAdmin(database.url, async (client) => await client.query(`truncate kvent.row; ${sql}`));
  });
  afterAll(async () => {
    await asAdmin(database.url, async (client) => {
      await client.query(`drop trigger if exists refuse on kvent.row; drop function if exists public.refuse; drop policy if exists allow on kvent.row;
        alter table kvent.row disable row level security; alter table kvent.row drop constraint if exists refuse`);
    });
  });

  it('refuses each change of one number that several callers change, and no other number', async () => {
    const provider = new PostgresProvider({ url, poolSize: 6, migrate: 'never' });
    const add = shapes['sums'] as (typeof shapes)[string];
    await opened(provider, async () => {
      // once for a number that is absent, once for one that is there
      for (let round = 0; round < 2; round += 1) {
        const callers = ['tenant:a', refusedTenant, 'tenant:a', refusedTenant, refusedTenant, 'tenant:a'];
        const results = await provider.commit(callers.map((tenant) => add(tenant, round)));
        expect(
          results.map((result) => (result.outcome === 'committed' ? result.rows[0]?.number : result.outcome)),
        ).toEqual(
          [1n, 'failed', 2n, 'failed', 'failed', 3n].map((n) =>
            typeof n === 'bigint' ? n + 3n * BigInt(round) : n,
          ),
        );
      }
      await provider.administration.drop('tenant:a');
    });
  });

  it.each(Object.entries(shapes))('refuses its tenant alone, among %s', async (_name, shape) => {
    const provider = new CoalescingProvider(new PostgresProvider({ url, poolSize: 6, migrate: 'never' }));
    await opened(provider, async () => {
      // what a statement meets decides which one is sent the next time
      for (let round = 0; round < 3; round += 1) {
        const results = await outcomes(provider, shape, round);
        expect(results.map(({ outcome }) => outcome)).toEqual([
          'committed',
          'committed',
          'failed',
          'committed',
        ]);
        const error = results[2]?.outcome === 'failed' ? results[2].error : undefined;
        expect(error?.effect).toBe('none');
        expect(error?.code).toBe(retryable === undefined ? 'INVALID_VALUE' : 'STORAGE_UNAVAILABLE');
        if (retryable !== undefined) expect(error?.retryable).toBe(retryable);
      }
      expect(await provider.administration.databases()).toEqual(['tenant:a', 'tenant:b', 'tenant:c']);
    });
  });
});
