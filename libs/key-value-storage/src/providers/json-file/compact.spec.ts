import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '../../testing/kit/manual-clock.js';
import { openStorage } from '../../core/store/open-storage.js';
import { defineState } from '../../core/store/state-definition.js';
import { bench, provider, open, address, put, batch, commit, read, failed, failOn } from './spec-support.js';

const names = ['tenant:a', 'tenant:b', 'tenant:c'];
const directory = (): string => join(bench.root, 'data');
const files = (name: string): readonly string[] =>
  readdirSync(join(directory(), name.replace(':', '.')), 'utf8').sort();
const contents = (): string =>
  names
    .flatMap((name) =>
      files(name).map((file) => readFileSync(join(directory(), name.replace(':', '.'), file), 'utf8')),
    )
    .join('');

describe('a store that is opened, written and closed often', () => {
  const writeOften = async (starts: number): Promise<void> => {
    for (let start = 0; start < starts; start += 1) {
      const store = await open({ directory: directory() });
      await commit(store, batch([put(`k${start}`)], [], 'tenant:a'));
      await store.close();
    }
  };
  const journals = (): number => files('tenant:a').filter((file) => file.startsWith('journal')).length;

  it('keeps few journals, and all rows', async () => {
    await writeOften(40);
    expect(journals()).toBeLessThan(20);
    const store = await open({ directory: directory() });
    for (let start = 0; start < 40; start += 1)
      expect(await read(store, `k${start}`, 'tenant:a')).toBeDefined();
  });

  it('opens with a warning where its journals cannot be merged', async () => {
    await writeOften(17);
    const warnings: string[] = [];
    failOn(/^rename snapshot/, 'ENOSPC');
    const store = await open({ directory: directory(), warn: (message) => void warnings.push(message) });
    expect(warnings).toEqual([expect.stringMatching(/tenant\.a could not be compacted.*journals are kept/)]);
    expect(await read(store, 'k0', 'tenant:a')).toBeDefined();
    expect(await commit(store, batch([put('more')], [], 'tenant:a'))).toMatchObject({ outcome: 'committed' });
    bench.disk.fail = () => undefined;
    await store.close();
    const again = await open({ directory: directory() });
    for (const key of ['k0', 'k16', 'more']) expect(await read(again, key, 'tenant:a')).toBeDefined();
    expect(journals()).toBe(1);
  });
});

describe('a compaction on demand', () => {
  it('leaves the live rows only, returns what it freed, and commits continue', async () => {
    for (const openJournalsMax of [1, 4]) {
      const store = await open({ directory: directory(), openJournalsMax });
      for (const name of names) {
        await commit(store, batch([put('kept')], [], name));
        await commit(store, batch([put('removed')], [], name));
        await commit(store, batch([{ kind: 'delete', address: address('removed') }], [], name));
      }
      const during = names.map((name) => commit(store, batch([put('during')], [], name)));
      const [freedBytes] = await Promise.all([store.administration.compact?.(), ...during]);
      expect(freedBytes).toBeGreaterThan(0);
      const results = await Promise.all(names.map((name) => commit(store, batch([put('after')], [], name))));
      expect(results.map((each) => failed(each)?.message ?? each.outcome)).toEqual(
        names.map(() => 'committed'),
      );
      await store.administration.compact?.();
      expect(contents()).not.toContain('"removed"');
      for (const name of names)
        expect(files(name).filter((file) => file.startsWith('snapshot'))).toHaveLength(1);
      await store.close();
      const again = await open({ directory: directory() });
      for (const name of names) {
        for (const key of ['kept', 'during', 'after']) expect(await read(again, key, name)).toBeDefined();
        expect(await read(again, 'removed', name)).toBeUndefined();
        await again.administration.drop(name);
      }
      await again.close();
    }
  });

  it('of a storage removes expired values too, before any commit of this process', async () => {
    const clock = new ManualClock();
    const Notes = defineState<string>('note');
    const settings = { directory: directory(), clock };
    for (const step of ['write', 'compact'] as const) {
      await using storage = await openStorage(provider(settings), { tenant: 'a' });
      if (step === 'write') {
        await storage.store(Notes).set('a', 'a person', { ttlMs: 1_000 });
        await storage.store(Notes).set('b', 'kept');
        continue;
      }
      await clock.advance(1_000);
      expect(await storage.compact()).toBeGreaterThan(0);
      expect(await storage.store(Notes).get('b')).toMatchObject({ value: 'kept' });
    }
    const [file = ''] = files('tenant:a').filter((name) => name.startsWith('snapshot'));
    expect(readFileSync(join(directory(), 'tenant.a', file), 'utf8')).toContain('kept');
    expect(
      files('tenant:a')
        .map((name) => readFileSync(join(directory(), 'tenant.a', name), 'utf8'))
        .join(''),
    ).not.toContain('a person');
  });

  it('and the first commit of a process do not create the same journal', async () => {
    for (let round = 0; round < 5; round += 1) {
      const store = await open({ directory: directory() });
      const [first] = await Promise.all([
        commit(store, batch([put(`k${round}`)], [], 'tenant:a')),
        store.administration.compact?.(),
        store.administration.compact?.(),
      ]);
      expect(first.outcome).toBe('committed');
      await store.close();
    }
    const again = await open({ directory: directory() });
    for (let round = 0; round < 5; round += 1)
      expect(await read(again, `k${round}`, 'tenant:a')).toBeDefined();
  });

  it('is refused for a store that is only read', async () => {
    const store = await open({ directory: directory() });
    await commit(store, batch([put('a')], [], 'tenant:a'));
    await store.close();
    const reader = await open({ directory: directory(), readOnly: true });
    await expect(reader.administration.compact?.()).rejects.toMatchObject({ code: 'STORAGE_UNSUPPORTED' });
  });
});
