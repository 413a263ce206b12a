import { chmodSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { bench, provider, open, put, batch, commit, killed } from './spec-support.js';

describe('permissions', () => {
  const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
  const everything = (): Record<string, string> =>
    Object.fromEntries(
      readdirSync(bench.root, { recursive: true, encoding: 'utf8' })
        .sort()
        .map((name) => [name, mode(join(bench.root, name))]),
    );

  it('allow the owner alone, whatever the umask', async () => {
    const before = process.umask(0);
    try {
      const directory = join(bench.root, 'deep', 'data');
      await commit(await open({ directory }), batch([put('a')]));
      // the first process counts as killed, so its rows are recovered into a snapshot
      await commit(await open({ directory, processes: killed }), batch([put('b')]));
      const { '.kvent.json': _, ...found } = everything();
      for (const [name, given] of Object.entries(found)) {
        expect([name, given]).toEqual([
          name,
          lstatSync(join(bench.root, name)).isDirectory() ? '700' : '600',
        ]);
      }
      expect(Object.keys(found).some((name) => name.includes('snapshot'))).toBe(true);
    } finally {
      process.umask(before);
    }
  });

  it('follow the options', async () => {
    const before = process.umask(0);
    try {
      const store = await open({
        directory: join(bench.root, 'data'),
        directoryMode: 0o750,
        fileMode: 0o640,
      });
      await commit(store, batch([put('a')]));
      expect(everything()).toMatchObject({
        data: '750',
        'data/.kvent.json': '640',
        'data/.lock.json': '640',
        'data/tenant.acme': '750',
        'data/tenant.acme/journal-1.jsonl': '640',
      });
    } finally {
      process.umask(before);
    }
    for (const wrong of [
      { directoryMode: 0o600 },
      { fileMode: 0o400 },
      { fileMode: 0o1600 },
      { fileMode: 1.5 },
      { fileMode: '600' as never },
    ])
      expect(() => provider(wrong)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  it('cause a warning if other users may write to the root and the options do not allow it', async () => {
    for (const [given, options, warned] of [
      [0o777, {}, true],
      [0o770, {}, true],
      [0o755, {}, false],
      [0o770, { directoryMode: 0o770 }, false],
    ] as const) {
      chmodSync(bench.root, given);
      const warnings: string[] = [];
      const store = await open({ ...options, warn: (message) => warnings.push(message) });
      expect([given, warnings.length]).toEqual([given, warned ? 1 : 0]);
      if (warned) expect(warnings[0]).toContain(bench.root);
      await store.close();
    }
  });

  it('cause a warning if the root belongs to another user', async () => {
    const warnings: string[] = [];
    bench.disk.theirs = true;
    await open({ warn: (message) => warnings.push(message) });
    expect(warnings).toEqual([expect.stringContaining('belongs to another user')]);
  });
});
