/**
 * The kit asks a test runner for `describe` and `it`, and a provider for `create`: nothing else.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { MemoryProvider } from '@kvent/key-value-storage';
import {
  abilitiesOf,
  applies,
  clauses,
  describeStorageProvider,
  storeClauses,
  type TestRunner,
} from '@kvent/key-value-storage/testing';

const all = [...clauses, ...storeClauses];

test('a provider that knows neither clock nor place is proven as far as that goes, and the rest is skipped by name', async () => {
  const [proven, skipped]: [string[], string[]] = [[], []];
  const bodies: (readonly [string, (context: unknown) => Promise<void>])[] = [];
  const runner: TestRunner = {
    describe: (_, body) => body(),
    it: (name, body) => bodies.push([name, body]),
  };
  describeStorageProvider('memory', { create: async () => new MemoryProvider() }, runner);
  for (const [name, body] of bodies) {
    expect(body).toHaveLength(0); // Jest and Mocha take a parameter for a callback
    let skips = false;
    await body({ skip: () => (skips = true) });
    (skips ? skipped : proven).push(name);
  }
  const claimed: readonly (string | undefined)[] = [
    undefined,
    'current reads',
    'feed',
    'feed, hints, one process',
    'hints',
    'hints, one process',
    'no within',
  ];
  const needy = all.filter(({ capability }) => !claimed.includes(capability));
  expect(skipped.toSorted()).toEqual(needy.map(({ name }) => name).toSorted());
  expect(proven.length + skipped.length).toBe(all.length);
});

test('without a runner it says what is missing', () => {
  expect(() => describeStorageProvider('memory', { create: () => new MemoryProvider() })).toThrow(
    /pass those of your test runner to describeStorageProvider/,
  );
});

test('it runs under node:test', async () => {
  const folder = mkdtempSync(join(import.meta.dirname, '../../.tmp/runner-'));
  try {
    const file = join(folder, 'memory.test.ts');
    const lines = [
      `import { describe, it } from 'node:test';`,
      `import { MemoryProvider } from '@kvent/key-value-storage';`,
      `import { describeStorageProvider } from '@kvent/key-value-storage/testing';`,
      `describeStorageProvider('memory', { create: ({ clock }) => new MemoryProvider({ clock }), only: ({ law }) => law === 2 || law === 6 }, { describe, it });`,
    ];
    writeFileSync(file, lines.join('\n'));
    const output = execFileSync(
      process.execPath,
      ['--conditions=kvent-source', '--import', 'tsx', '--test', '--test-reporter=tap', file],
      {
        encoding: 'utf8',
      },
    );
    const abilities = await abilitiesOf({ create: ({ clock }) => new MemoryProvider({ clock }) });
    const skippable = all.filter(
      (clause) => (clause.law === 2 || clause.law === 6) && !applies(clause, abilities),
    ).length;
    expect(output).toContain('# fail 0');
    expect(output).toContain(`# skipped ${skippable}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
