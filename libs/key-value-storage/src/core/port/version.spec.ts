import { expect, test } from '@jest/globals';
import { databaseVersions, isVersion, versionSource } from './version.js';

test('versions count up from a random start, and none comes twice', () => {
  const next = versionSource();
  const versions = Array.from({ length: 10_000 }, next);
  expect(new Set(versions).size).toBe(versions.length);
  expect(versions.every(isVersion)).toBe(true);
  expect(BigInt(versions[9_999] as string) - BigInt(versions[0] as string)).toBe(9_999n);
  expect(versionSource()()).not.toBe(versionSource()());
});

test('versions count on where their lower half is full, and stay below 2^63', () => {
  for (const start of [10n ** 9n, 10n ** 9n + 999_999_997n, 123_999_999_997n, 2n ** 62n - 1n]) {
    const next = versionSource(() => start);
    let last = start;
    for (let step = 0; step < 5; step += 1) {
      const version = BigInt(next());
      expect(version > last).toBe(true);
      expect(isVersion(version.toString())).toBe(true);
      last = version;
    }
  }
});

test('a version is a decimal number from 1 to 2^63 − 1 without leading zeros', () => {
  for (const good of ['1', '9', '10', '999999999999999999', '9223372036854775807'])
    expect(isVersion(good)).toBe(true);
  for (const bad of [
    '',
    '0',
    '01',
    '-1',
    '+1',
    '1.0',
    '1e3',
    ' 1',
    '1 ',
    '1\n',
    'x',
    '9223372036854775808',
    '10000000000000000000',
    '١',
  ])
    expect(isVersion(bad)).toBe(false);
});

test('each database counts by itself: the writes of one do not move the versions of another', () => {
  const next = databaseVersions();
  const before = BigInt(next('tenant:acme'));
  for (let write = 0; write < 17; write += 1) next('tenant:globex');
  expect(BigInt(next('tenant:acme')) - before).toBe(1n);
  expect(BigInt(next('tenant:globex')) - before).not.toBe(18n);
});

test('of databases without number 1,000 are remembered, and one that was forgotten goes on with versions it never had', () => {
  let sources = 0;
  const next = databaseVersions(() => {
    sources += 1;
    return versionSource();
  });
  const seen = new Set<string>();
  const write = (database: string): void => {
    const version = next(database);
    expect(seen.has(version)).toBe(false);
    seen.add(version);
  };
  for (let index = 0; index < 1_000; index += 1) write(`tenant:${index}`);
  write('tenant:0');
  expect(sources).toBe(1_000);
  write('tenant:new');
  write('tenant:0');
  expect(sources).toBe(1_001);
  write('tenant:1');
  expect(sources).toBe(1_002);
  for (let index = 0; index < 1_000; index += 1) write(`tenant:${index}`);
});
