import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from '@jest/globals';
import { MemoryProvider, openStorage } from '@kvent/key-value-storage';
import { feedPositionOf } from '@kvent/key-value-storage/provider';
import { PositionSeal } from './position-seal.js';

const numbered = Array.from({ length: 100 }, (_, index) => feedPositionOf(1_000, index));

describe('A sealed position', () => {
  it('shows no number and no order, so that nothing can be counted with two of them', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const seal = new PositionSeal(storage);
    const sealed = await Promise.all(numbered.map(async (position) => await seal.seal(position)));
    expect(sealed).not.toEqual(sealed.toSorted());
    const halves = sealed.flatMap((text) => {
      const hex = Buffer.from(text, 'base64url').toString('hex');
      return [hex.slice(0, 16), hex.slice(16, 32), hex.slice(32, 48), hex.slice(48)];
    });
    expect(new Set(halves).size).toBe(4 * numbered.length);
  });

  it('is opened by every process on the storage, whichever has sealed first', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const processes = [1, 2, 3].map(() => new PositionSeal(storage));
    const position = feedPositionOf(7, 1);
    const sealed = await Promise.all(processes.map(async (seal) => await seal.seal(position)));
    expect(new Set(sealed).size).toBe(1);
    const restarted = new PositionSeal(storage);
    expect(await restarted.open(sealed[0] ?? '')).toBe(position);
  });

  it('is not opened if it was changed, written otherwise, or sealed for another storage', async () => {
    await using storage = await openStorage(new MemoryProvider());
    await using another = await openStorage(new MemoryProvider());
    const seal = new PositionSeal(storage);
    const position = feedPositionOf(7, 1);
    const sealed = await seal.seal(position);
    const bytes = Buffer.from(sealed, 'base64url');
    for (let index = 0; index < bytes.length; index += 1) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(index) ^ 1, index);
      expect(await seal.open(changed.toString('base64url'))).toBeUndefined();
    }
    const others = [position, '', `${sealed}=`, `${sealed} `, sealed.slice(1), `${sealed}A`];
    for (const other of [...others, await new PositionSeal(another).seal(position)])
      expect(await seal.open(other)).toBeUndefined();
  });

  it('needs the secret: it is read again after an error, and outside the context of the request', async () => {
    const request = new AsyncLocalStorage<string>();
    const contexts: (string | undefined)[] = [];
    const provider = new MemoryProvider();
    const commit = provider.commit.bind(provider);
    let isDown = true;
    provider.commit = async (...args) => {
      contexts.push(request.getStore());
      if (isDown) throw new Error('The storage is down.');
      return await commit(...args);
    };
    await using storage = await openStorage(provider);
    const seal = new PositionSeal(storage);
    const position = feedPositionOf(7, 1);
    await expect(request.run('request', () => seal.seal(position))).rejects.toThrow('down');
    isDown = false;
    expect(await seal.open(await request.run('request', () => seal.seal(position)))).toBe(position);
    expect([...new Set(contexts)]).toEqual([undefined]);
  });
});
