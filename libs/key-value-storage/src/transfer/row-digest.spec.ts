import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { hashOfDatabases, RowDigest, type RowsDigest } from './row-digest.js';
import { rowLine } from '../core/port/row-line.js';
import type { RawRow } from '../core/port/storage-provider.js';

const raw = (container: string, key: string, text = '1'): RawRow => ({
  container,
  entity: '',
  key,
  row: { version: '1', value: { kind: 'json', text }, updatedAt: 0 },
});

async function digestOf(rows: readonly RawRow[]): Promise<RowsDigest> {
  const digest = new RowDigest();
  for (const row of rows) await digest.add(row);
  return await digest.end();
}

/** The same by hand: each block together with the hash of those before it. */
function byHand(blocks: readonly string[]): string {
  return blocks
    .reduce((hash, block) => createHash('sha256').update(hash).update(block).digest(), Buffer.alloc(32))
    .toString('hex');
}

describe('the digest of rows', () => {
  const rows = [raw('event:order', '1'), raw('event:order', '2'), raw('state:state', '1')];

  it('counts and hashes each container, and all', async () => {
    const { containers, ...all } = await digestOf(rows);
    const lines = rows.map((row) => `${rowLine(row)}\n`);
    expect(containers).toEqual([
      { container: 'event:order', rows: 2, sha256: byHand([`${lines[0]}${lines[1]}`]) },
      { container: 'state:state', rows: 1, sha256: byHand([`${lines[2]}`]) },
    ]);
    expect(all).toEqual({
      rows: 3,
      sha256: byHand([containers.map((each) => `${JSON.stringify(each)}\n`).join('')]),
    });
  });

  it('hashes block by block, so that what it holds in memory does not grow', async () => {
    const large = 'x'.repeat(40_000);
    const lines = [raw('c', '1', `"${large}"`), raw('c', '2', `"${large}"`), raw('c', '3')];
    const [one, two, three] = lines.map((row) => `${rowLine(row)}\n`);
    expect((await digestOf(lines)).containers[0]?.sha256).toBe(byHand([`${one}${two}`, `${three}`]));
  });

  it('is another one for other rows, another order and fewer rows', async () => {
    const others = [
      rows,
      rows.toReversed(),
      rows.slice(1),
      rows.slice(0, -1),
      [...rows.slice(0, 2), raw('state:other', '1')],
      [],
    ];
    const hashes = await Promise.all(others.map(async (each) => (await digestOf(each)).sha256));
    expect(new Set(hashes).size).toBe(others.length);
  });

  it('of nothing is zeros', async () => {
    expect(await digestOf([])).toEqual({ rows: 0, sha256: '0'.repeat(64), containers: [] });
    expect(await hashOfDatabases([])).toBe('0'.repeat(64));
  });
});
