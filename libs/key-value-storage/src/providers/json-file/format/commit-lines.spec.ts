import { describe, expect, it } from '@jest/globals';
import type { Row } from '../../../core/port/storage-provider.js';
import { limits } from '../../../core/base/limits.js';
import { CommitLines, SpareBuffer } from './commit-lines.js';
import { readJournalLine, type JournalLine } from './journal-line.js';

const seed = 7;
const row = (json: string): Row => ({ version: '1', value: { kind: 'json', text: json }, updatedAt: 1 });
const line = (number: number, ...texts: readonly string[]) => ({
  kind: 'commit' as const,
  number,
  onDisk: 0,
  time: 5,
  effects: texts.map((text, index) => ({
    address: { container: 'state:ü', entity: 'e', key: `${index}` },
    row: row(JSON.stringify(text)),
  })),
});
const readBack = (bytes: Buffer): readonly (JournalLine | undefined)[] => {
  const ends = [...bytes.keys()].filter((at) => bytes[at] === 10);
  const starts = [0, ...ends.map((end) => end + 1)];
  return ends.map((end, index) => readJournalLine(bytes.subarray(starts[index], end), seed));
};

describe('the lines of a group', () => {
  it('are read back, however long they are and however many bytes their characters take', () => {
    const lines = new CommitLines();
    const written = [
      line(1, 'tea'),
      line(2, '漢字 ü 🍵', 'x'),
      // longer than the buffer, and than what is counted by its characters
      line(3, '€'.repeat(100_000), 'y', '🍵'.repeat(20_000)),
      line(4, ...Array.from({ length: 3_000 }, (_, index) => `${index}`)),
      line(5),
    ];
    for (const each of written) lines.add(each);
    expect(readBack(lines.sealed(seed))).toEqual(written);
  });

  it('have as many blanks behind them as asked for, also where the buffer must grow for them', () => {
    const lines = new CommitLines();
    lines.add(line(1, 'tea'));
    const bytes = lines.sealed(seed, 100_000);
    expect(bytes).toHaveLength(lines.length + 100_000);
    expect(bytes.subarray(lines.length).every((byte) => byte === 32)).toBe(true);
    expect(readBack(bytes)).toEqual([line(1, 'tea')]);
  });

  it('contain nothing of a line that was refused', () => {
    const lines = new CommitLines();
    lines.add(line(1, 'tea'));
    const long = 'x'.repeat(limits.journalLineBytesMax / 2);
    expect(() => lines.add(line(2, long, long))).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED', limit: 'journalLineBytesMax' }),
    );
    lines.add(line(2, 'milk'));
    expect(readBack(lines.sealed(seed))).toEqual([line(1, 'tea'), line(2, 'milk')]);
  });
});

describe('the spare buffer', () => {
  it('is used by one group at a time', () => {
    const spare = new SpareBuffer();
    const [one, other] = [new CommitLines(spare), new CommitLines(spare)];
    one.add(line(1, 'one'));
    other.add(line(1, 'other'));
    expect(readBack(one.sealed(seed))).toEqual([line(1, 'one')]);
    const { buffer } = one.sealed(seed);
    one.release();
    const next = new CommitLines(spare);
    next.add(line(2, 'next'));
    expect(next.sealed(seed).buffer).toBe(buffer);
    expect(readBack(other.sealed(seed))).toEqual([line(1, 'other')]);
  });

  it('is not kept where a group was large: it would stay in memory', () => {
    const spare = new SpareBuffer();
    const large = new CommitLines(spare);
    large.add(line(1, 'x'.repeat(5 * 1_024 * 1_024)));
    large.release();
    expect(spare.take().length).toBeLessThan(1_024 * 1_024);
  });
});
