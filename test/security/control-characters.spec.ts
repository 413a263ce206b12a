/**
 * A tenant, an id or an argument with control characters forges no line and moves no cursor: not on
 * the terminal of `kvent`, not in the shop's answers and log.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { defineState, JsonFileProvider, MemoryProvider, openStorage } from '@kvent/key-value-storage';
import { KventProcess } from '../cli/kvent.js';
import { build } from '../packaging/build.js';
import { openShop, type RunningShop } from '../e2e/shop.js';

const escape = '\u001b';
const hostile = `a${escape}[2J${escape}]0;owned\u0007\u202ecba`;
/** C0 but the line feed, DEL, C1, and what turns text round. */
const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]/;

describe('The command line', () => {
  let folder: string;
  beforeAll(async () => {
    await build();
    folder = await mkdtemp(join(tmpdir(), 'kvent-control-'));
    await using storage = await openStorage(new JsonFileProvider({ directory: join(folder, 'data') }), {
      tenant: 'a\u202ecba',
    });
    await storage.store(defineState<number>('note')).set(hostile, 1);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each([
    ['a tenant that it copies', ['copy', '--from', 'data', '--to', 'copy', '--verbose'], 0],
    ['a tenant that it backs up', ['backup', '--from', 'data', '--to', 'backup.gz', '--verbose'], 0],
    ['an option', ['copy', '--from', 'data', '--to', 'other', `--${hostile}`], 2],
    ['a directory', ['copy', '--from', hostile, '--to', 'other'], 1],
    ['a command', [hostile], 2],
  ])('prints no control character of %s', async (_what, args, expected) => {
    await using command = new KventProcess(args, folder);
    const { code, stdout, stderr } = await command.exit;
    expect(code).toBe(expected);
    expect(`${stdout}${stderr}`).toContain('cba');
    expect(`${stdout}${stderr}`).not.toMatch(control);
  });
});

describe.each(['express', 'fastify'] as const)('The shop, on %s', (http) => {
  let shop: RunningShop;
  beforeAll(async () => void (shop = await openShop({ openProvider: () => new MemoryProvider() }, { http })));
  afterAll(async () => await shop[Symbol.asyncDispose]());

  it('sends no control character of an id back in a problem', async () => {
    const acme = shop.client.as('acme');
    for (const path of [
      `/products/${encodeURIComponent(hostile)}`,
      `/orders/${encodeURIComponent(hostile)}`,
      `/stock/${encodeURIComponent(hostile)}`,
    ]) {
      const { status, body } = await acme.get(path);
      expect(status).toBe(404);
      expect((body as { detail: string }).detail).not.toMatch(control);
    }
  });
});
