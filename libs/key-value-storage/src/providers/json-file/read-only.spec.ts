import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { systemProcesses } from './lock/process-identity.js';
import {
  bench,
  database,
  provider,
  open,
  put,
  batch,
  commit,
  read,
  text,
  failed,
  killed,
} from './spec-support.js';

describe('a store opened with readOnly', () => {
  const files = (): Record<string, string> =>
    Object.fromEntries(
      readdirSync(bench.root, { recursive: true, encoding: 'utf8' })
        .sort()
        .map((name) => [
          name,
          lstatSync(join(bench.root, name)).isFile() ? readFileSync(join(bench.root, name), 'utf8') : '',
        ]),
    );

  it('changes nothing, not even what a dead owner left, and restores the lock of that owner', async () => {
    const store = await open();
    await commit(store, batch([put('a')]));
    const lock = readFileSync(join(bench.root, '.lock.json'));
    await store.close();
    writeFileSync(join(bench.root, '.lock.json'), lock);
    mkdirSync(join(bench.root, '.dropped-0123456789abcdef-x'));
    const journal = join(bench.root, 'tenant.acme', 'journal-1.jsonl');
    writeFileSync(journal, readFileSync(journal, 'utf8').trimEnd());
    writeFileSync(join(bench.root, 'tenant.acme', 'snapshot-2.json.0123456789abcdef.tmp'), 'half');
    const before = files();
    const warnings: string[] = [];
    const reader = await open({
      readOnly: true,
      processes: { ...killed, own: systemProcesses().own },
      warn: (message) => warnings.push(message),
    });
    expect(text(await read(reader, 'a'))).toBe('1');
    expect(warnings).toHaveLength(1);
    await expect(provider({ lockTimeoutMs: 0 }).open()).rejects.toMatchObject({ code: 'STORAGE_LOCKED' });
    await reader.close();
    expect(files()).toEqual(before);
    // the next owner recovers what the dead one left
    await open({ processes: killed });
    expect(readdirSync(join(bench.root, 'tenant.acme')).sort()).toEqual([
      'journal-2.jsonl',
      'snapshot-2.json',
    ]);
  });

  it('refuses every write, and creates no store', async () => {
    await expect(provider({ readOnly: true }).open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    const store = await open();
    await commit(store, batch([put('a')]));
    await store.close();
    const reader = await open({ readOnly: true });
    const refused = { code: 'STORAGE_UNSUPPORTED', effect: 'none' };
    expect(failed(await commit(reader, batch([put('b')])))).toMatchObject(refused);
    await expect(reader.administration.drop(database)).rejects.toMatchObject(refused);
    await expect(reader.administration.import(database, [])).resolves.toBe(0);
    expect(await reader.sweep(10)).toBe(0);
    expect(text(await read(reader, 'a'))).toBe('1');
  });
});
