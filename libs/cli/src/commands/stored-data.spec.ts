/** Commands that print stored data print it as it is, also where it looks like a password. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { defineStream, event, EventStore } from '@kvent/event-store/core';
import { defineState } from '@kvent/key-value-storage';
import { EndlessCall, Folder, kvent, kventJson } from '../spec-support.js';

/** The `PGPASSWORD` of every call of these specs. */
const password = 'f1om-the-environment';
const value = { hook: 'https://a:b@h', [password]: [`password=${password}`], storage: password };
const valueText = JSON.stringify(value);
const Secrets = defineState<unknown>(password);
const Logs = defineStream(password, {
  events: { [password]: event<unknown>() },
  initial: () => 0,
  evolve: (count: number) => count + 1,
});
const tenant = password;
let folder: Folder;
let data: string;

beforeEach(async () => {
  folder = new Folder();
  data = folder.path('data');
  await folder.store(async (storage) => {
    await storage.store(Secrets).set(password, value);
    await storage.store(Secrets).set('u:b@h', value);
    const log = new EventStore(storage).stream(Logs);
    await log.append(password, [{ type: password, data: value }], {
      expectedVersion: 'absent',
      metadata: { userId: password },
    });
    await log.append('u:b@h', [{ type: password, data: value }], { expectedVersion: 'absent' });
  }, tenant);
});
afterEach(() => folder[Symbol.dispose]());

const text = async (...args: readonly string[]): Promise<string> => {
  const { exitCode, stdout, stderr } = await kvent(args);
  if (exitCode !== 0) throw new Error(stderr);
  return stdout;
};

describe('stored data with a password in it is printed as it is', () => {
  it('by kvent get', async () => {
    expect(await kventJson('get', data, password, password)).toMatchObject({
      database: `tenant:${tenant}`,
      state: password,
      key: password,
      value,
    });
    const printed = await text('get', data, password, password);
    expect(printed).toContain(`${JSON.stringify(value, undefined, 2)}\n`);
    expect(printed).toMatch(new RegExp(`^key +${password}\n`));
  });

  it('by kvent get, so that kvent put writes it back', async () => {
    const { etag, value: read } = await kventJson('get', data, password, password);
    const put = [
      'put',
      data,
      password,
      password,
      JSON.stringify(read),
      '--if-match',
      String(etag),
      '--write',
    ];
    expect(await kventJson(...put)).toMatchObject({ key: password, created: false });
    expect(await kventJson('get', data, password, password)).toMatchObject({ value });
  });

  it('by kvent put and kvent rm', async () => {
    const put = await text('put', data, password, `${password}:x@h`, valueText, '--write');
    expect(put).toMatch(`Added ${password} ${password}:x@h in 'tenant:${tenant}': etag `);
    const rm = await text('rm', data, password, `${password}:x@h`, '--write');
    expect(rm).toMatch(`Removed ${password} ${password}:x@h from 'tenant:${tenant}': it had the etag `);
    expect(await kventJson('rm', data, password, 'u:b@h', '--write')).toMatchObject({ key: 'u:b@h' });
  });

  it('by kvent ls', async () => {
    expect(await kventJson('ls', data)).toMatchObject({
      items: [
        { database: `tenant:${tenant}`, kind: 'stream', name: password },
        { database: `tenant:${tenant}`, kind: 'state', name: password },
      ].toSorted((one, other) => (one.kind < other.kind ? 1 : -1)),
    });
    expect(await text('ls', data)).toContain(`tenant:${tenant}  state   ${password}\n`);
    expect(await kventJson('ls', data, password, '--values')).toMatchObject({
      items: [
        { key: password, value },
        { key: 'u:b@h', value },
      ],
    });
    const page = await text('ls', data, password, '--values', '--limit', '1');
    expect(page).toContain(`  ${valueText}\n`);
    const cursor = /--cursor (\S+)\n$/.exec(page)?.[1] ?? '';
    expect(await kventJson('ls', data, password, '--limit', '1')).toMatchObject({ next: cursor });
    expect(await kventJson('ls', data, password, '--cursor', cursor)).toMatchObject({
      items: [{ key: 'u:b@h' }],
    });
  });

  it('by kvent stream ls', async () => {
    expect(await kventJson('stream', 'ls', data)).toMatchObject({ items: [{ type: password }] });
    expect(await text('stream', 'ls', data)).toContain(`  ${password}\n`);
    expect(await kventJson('stream', 'ls', data, password)).toMatchObject({
      type: password,
      items: [{ id: password }, { id: 'u:b@h' }],
    });
    expect(await text('stream', 'ls', data, password)).toMatch(new RegExp(`\n${password} .*\nu:b@h `));
  });

  it('by kvent stream show', async () => {
    const stored = { type: password, data: value, metadata: { userId: password } };
    expect(await kventJson('stream', 'show', data, password, password)).toMatchObject({
      ...{ type: password, id: password },
      events: [stored],
    });
    const printed = await text('stream', 'show', data, password, password);
    expect(printed).toContain(`  ${valueText}  ${JSON.stringify(stored.metadata)}\n`);
    expect(printed).toContain(`The stream ${password} ${password} is at version 1.\n`);
  });

  it.each([[[]], [['--json']]])('by kvent tail %j', async (options) => {
    await using call = new EndlessCall('tail', data, password, password, '--from', '1', ...options);
    await call.waitForStdout(valueText);
    expect((await call.end()).stdout).not.toContain('***');
  });

  it('by kvent tenants and kvent stats', async () => {
    expect(await kventJson('tenants', data)).toMatchObject({ tenants: [tenant] });
    expect(await text('tenants', data)).toMatch(new RegExp(`^${tenant}\n`));
    expect(JSON.stringify((await kventJson('stats', data))['items'])).not.toContain('***');
    expect(await text('stats', data)).not.toContain('***');
  });

  it('by kvent export, so that kvent import loads it', async () => {
    const file = folder.path('file');
    await text('export', data, password, file, '--json');
    await kventJson('import', folder.path('other'), password, file, '--tenant', 'acme', '--write');
    expect(await kventJson('get', folder.path('other'), password, 'u:b@h')).toMatchObject({ value });
  });

  it('by kvent backup and kvent copy', async () => {
    const backup = await kventJson('backup', '--from', data, '--to', folder.path('file'));
    expect(backup).toMatchObject({ databases: [{ database: `tenant:${tenant}` }] });
    expect(await text('copy', '--from', data, '--to', folder.path('other'))).toContain(`tenant:${tenant}  `);
  });

  it('by kvent verify', async () => {
    expect(await kventJson('verify', data)).toMatchObject({
      databases: [{ database: `tenant:${tenant}`, damage: [] }],
    });
  });
});

it('messages and names of places hide a password', async () => {
  const other = folder.path(password);
  for (const args of [
    ['get', data, 'none', password],
    ['get', data, password, 'https://a:b-c-d@h'],
    ['ls', other],
  ])
    for (const more of [[], ['--json']]) {
      const { exitCode, stdout, stderr } = await kvent([...args, ...more]);
      expect(exitCode).toBeGreaterThan(0);
      expect(stdout + stderr).toContain('***');
      expect(stdout + stderr).not.toMatch(/f1om|b-c-d/);
    }
  await kventJson('copy', '--from', data, '--to', other);
  const { storage } = await kventJson('tenants', other);
  expect(storage).toContain('/***');
});
