import { describe, expect, it } from '@jest/globals';
import { FlatIterator } from './flat-iterator.js';

function iterate(blocks: readonly (readonly number[] | Error)[], check = (): void => undefined) {
  let ended = 0;
  async function* each(): AsyncGenerator<readonly number[], void, undefined> {
    try {
      for (const block of blocks) {
        if (block instanceof Error) throw block;
        yield block;
        await Promise.resolve();
      }
    } finally {
      ended += 1;
    }
  }
  return { iterator: new FlatIterator(each(), check), ended: () => ended };
}

async function collect(iterator: AsyncIterable<number>, max = Number.POSITIVE_INFINITY) {
  const items: number[] = [];
  for await (const item of iterator) if (items.push(item) >= max) break;
  return items;
}

describe('a flat iterator', () => {
  it('has the items of all blocks in order, and then ends', async () => {
    const { iterator, ended } = iterate([[1, 2], [], [3], [4, 5, 6]]);
    expect(await collect(iterator)).toEqual([1, 2, 3, 4, 5, 6]);
    expect([await iterator.next(), ended()]).toEqual([{ done: true, value: undefined }, 1]);
  });

  it('ends its blocks where the reader stops, in a block and between two', async () => {
    for (const max of [1, 2, 3]) {
      const { iterator, ended } = iterate([
        [1, 2],
        [3, 4],
      ]);
      expect(await collect(iterator, max)).toHaveLength(max);
      expect([ended(), await iterator.next()]).toEqual([1, { done: true, value: undefined }]);
    }
  });

  it('rejects with the error of a block, behind the items before it', async () => {
    const { iterator } = iterate([[1, 2], new Error('broken'), [3]]);
    const seen: number[] = [];
    const read = async (): Promise<void> => {
      for await (const item of iterator) seen.push(item);
    };
    await expect(read()).rejects.toThrow('broken');
    expect([seen, await iterator.next()]).toEqual([[1, 2], { done: true, value: undefined }]);
  });

  it('answers calls that do not wait for each other in order', async () => {
    const { iterator, ended } = iterate([[1, 2], [3], [4]]);
    const calls = Array.from({ length: 6 }, async () => await iterator.next());
    expect((await Promise.all(calls)).map(({ value }) => value)).toEqual([1, 2, 3, 4, undefined, undefined]);
    const other = iterate([[1], [2]]);
    const results = await Promise.all([
      other.iterator.next(),
      other.iterator.return(),
      other.iterator.next(),
    ]);
    expect(results.map(({ value, done }) => [value, done])).toEqual([
      [1, false],
      [undefined, true],
      [undefined, true],
    ]);
    expect([ended(), other.ended()]).toEqual([1, 1]);
  });

  it('checks before each item, and ends with what the check throws', async () => {
    let left = 2;
    const { iterator, ended } = iterate([[1, 2, 3, 4]], () => {
      if (left === 0) throw new Error('aborted');
      left -= 1;
    });
    expect([await iterator.next(), await iterator.next()].map(({ value }) => value)).toEqual([1, 2]);
    await expect(iterator.next()).rejects.toThrow('aborted');
    expect([await iterator.next(), ended()]).toEqual([{ done: true, value: undefined }, 1]);
  });
});
