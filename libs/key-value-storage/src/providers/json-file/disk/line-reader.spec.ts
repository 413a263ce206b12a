import { describe, expect, it } from '@jest/globals';
import type { OpenFile } from './file-system.js';
import { readLines } from './line-reader.js';

/** A file that is read a few bytes at a time. */
function fileOf(bytes: Buffer, step: number): OpenFile & { largest: number } {
  const file = {
    largest: 0,
    read: async (buffer: Uint8Array, position: number): Promise<number> => {
      file.largest = Math.max(file.largest, buffer.buffer.byteLength);
      const count = Math.min(step, buffer.length, bytes.length - position);
      bytes.copy(buffer, 0, position, position + count);
      return count;
    },
  };
  return file as unknown as OpenFile & { largest: number };
}

async function linesOf(
  text: string,
  bytesMax: number,
  step: number,
): Promise<readonly (readonly [string, number, boolean])[]> {
  const found: (readonly [string, number, boolean])[] = [];
  const bytes = Buffer.from(text);
  const read = await readLines(
    fileOf(bytes, step),
    (line, number, ended) => void found.push([line.toString(), number, ended]),
    bytesMax,
  );
  expect(read).toBe(bytes.length);
  return found;
}

describe('lines of a file', () => {
  it.each([1, 3, 8, 100])(
    'are cut at the limit, and the next one is read as it is (%d bytes at a time)',
    async (step) => {
      expect(await linesOf('short\n12345678\n123456789abcdefghijklmnop\nnext\n\nlast', 9, step)).toEqual([
        ['short', 1, true],
        ['12345678', 2, true],
        ['123456789', 3, false],
        ['next', 4, true],
        ['', 5, true],
        ['last', 6, false],
      ]);
    },
  );

  it('without an end take no more memory than the limit', async () => {
    const file = fileOf(Buffer.alloc(50 * 1_024 * 1_024, 'x'), 1_024 * 1_024);
    let lines = 0;
    await readLines(file, () => void (lines += 1), 2 * 1_024 * 1_024);
    expect(lines).toBe(1);
    expect(file.largest).toBeLessThanOrEqual(2 * 1_024 * 1_024);
  });
});
