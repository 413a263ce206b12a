import { expect, test } from '@jest/globals';
import { isVersion, versionSource } from './version.js';

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
  for (const good of ['1', '9', '10', '999999999999999999', '9223372036854775807']) expect(isVersion(good)).toBe(true);
  for (const bad of ['', '0', '01', '-1', '+1', '1.0', '1e3', ' 1', '1 ', '1\n', 'x', '9223372036854775808', '10000000000000000000', '١'])
    expect(isVersion(bad)).toBe(false);
});
