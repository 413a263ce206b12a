import fs, { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import {
  batch,
  bench,
  commit,
  database,
  failed,
  failure,
  killed,
  open,
  put,
  read,
  text,
} from './spec-support.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import { salvageJsonFile } from './salvage.js';

const journal = (generation = 1): string =>
  readFileSync(join(bench.root, 'tenant.acme', `journal-${generation}.jsonl`), 'utf8');
/** The lines of a journal, and the blanks after them. */
const parts = (generation?: number): { readonly lines: readonly string[]; readonly blanks: number } => {
  const lines = journal(generation).split('\n');
  const rest = lines.pop() ?? '';
  expect(rest).toMatch(/^ *$/);
  return { lines, blanks: rest.length };
};
afterEach(() => {
  jest.restoreAllMocks();
});

describe('a journal that is written ahead', () => {
  it('has at most as many blanks as bytes, and the next lines replace them without changing its length', async () => {
    bench.disk.writeAhead = { fromBytes: 600, bytesMax: 5_000 };
    const store = await open();
    await commit(store, batch([put('a')]));
    expect(parts()).toMatchObject({ blanks: 0 });
    await commit(store, batch([put('b')]));
    await commit(store, batch([put('c')]));
    const { lines, blanks } = parts();
    expect(lines).toHaveLength(4);
    expect(blanks).toBe(journal().length - blanks);
    const { length } = journal();
    await commit(store, batch([put('d')]));
    expect(journal()).toHaveLength(length);
    expect(parts().lines).toHaveLength(5);
  });

  it('has no blanks once it is closed, and needs no recovery', async () => {
    bench.disk.writeAhead = { fromBytes: 0, bytesMax: 5_000 };
    const store = await open();
    await commit(store, batch([put('a')]));
    expect(parts().blanks).toBeGreaterThan(0);
    await store.close();
    expect(parts()).toMatchObject({ blanks: 0 });
    expect(parts().lines.at(-1)).toContain('"end":true');
    const again = await open();
    expect(text(await read(again, 'a'))).toBe('1');
    expect(readdirSync(join(bench.root, 'tenant.acme'))).toEqual(['journal-1.jsonl']);
  });

  it('is closed without blanks for another journal, and continues behind its end mark', async () => {
    bench.disk.writeAhead = { fromBytes: 0, bytesMax: 5_000 };
    const store = await open({ openJournalsMax: 1 });
    await commit(store, batch([put('a')]));
    await commit(store, batch([put('a')], [], 'tenant:other'));
    expect(parts()).toMatchObject({ blanks: 0 });
    await commit(store, batch([put('b')]));
    expect(parts().blanks).toBeGreaterThan(0);
    expect(text(await read(store, 'b'))).toBe('1');
  });

  it('of a killed process is read without a warning: blanks are no damage', async () => {
    bench.disk.writeAhead = { fromBytes: 0, bytesMax: 5_000 };
    const store = await open();
    await commit(store, batch([put('a')]));
    expect(parts().blanks).toBeGreaterThan(0);
    const warnings: string[] = [];
    const next = await open({ processes: killed, warn: (message) => warnings.push(message) });
    expect(text(await read(next, 'a'))).toBe('1');
    expect(warnings).toEqual([]);
  });

  it('is salvaged without a report of damage', async () => {
    bench.disk.writeAhead = { fromBytes: 0, bytesMax: 5_000 };
    const store = await open();
    await commit(store, batch([put('a')]));
    expect(parts().blanks).toBeGreaterThan(0);
    const { databases } = await salvageJsonFile(bench.root, join(bench.root, 'salvaged'));
    expect(databases).toEqual([{ database, rows: 1, damage: [] }]);
  });

  it('takes fewer blanks if the disk has no room for all of them', async () => {
    bench.disk.writeAhead = { fromBytes: 0, bytesMax: 5_000 };
    const store = await open();
    await commit(store, batch([put('a')]));
    const { blanks } = parts();
    // a large line needs more than the blanks; its write transfers the line and 10 blanks
    const large = '1'.repeat(blanks + 1);
    bench.disk.portion = (bytes) => Buffer.from(bytes).lastIndexOf(10) + 11;
    expect(failed(await commit(store, batch([put('b', large)])))).toBeUndefined();
    expect(parts()).toMatchObject({ blanks: 10 });
    bench.disk.portion = undefined;
    expect(failed(await commit(store, batch([put('c')])))).toBeUndefined();
    expect(parts().lines).toHaveLength(4);
    expect(text(await read(store, 'b'))).toBe(large);
  });

  it('has no blanks behind a group that is as long: the next one would not fit into them', async () => {
    bench.disk.writeAhead = { fromBytes: 0, bytesMax: 1_000 };
    const store = await open();
    await commit(store, batch([put('a', '1'.repeat(1_000))]));
    expect(parts()).toMatchObject({ blanks: 0 });
    await commit(store, batch([put('b')]));
    expect(parts().blanks).toBe(1_000);
  });

  it('has no blanks if the disk refuses the whole write, but has room for the lines', async () => {
    bench.disk.writeAhead = { fromBytes: 0, bytesMax: 5_000 };
    const store = await open();
    bench.disk.portion = (bytes) => {
      if (bytes.at(-1) === 32) throw failure('ENOSPC');
      return bytes.length;
    };
    expect(failed(await commit(store, batch([put('a')])))).toBeUndefined();
    expect(parts()).toMatchObject({ blanks: 0 });
    expect(text(await read(store, 'a'))).toBe('1');
  });
});

(process.platform === 'linux' ? describe : describe.skip)('a lone commit', () => {
  it('makes one call to a thread: a write that is synced; the lock is compared during the call', async () => {
    const store = await open({ fileSystem: nodeFileSystem });
    await commit(store, batch([put('a')]));
    const calls = ['open', 'read', 'write', 'fdatasync', 'fsync', 'fstat', 'ftruncate', 'close'] as const;
    const spies = calls.map((name) => jest.spyOn(fs, name));
    await commit(store, batch([put('b')]));
    const made = calls.flatMap((name, index) => spies[index]?.mock.calls.map(() => name));
    expect(made).toEqual(['write']);
  });
});
