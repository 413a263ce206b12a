import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';

const texts = ['', 'a', 'é€😀', 'x'.repeat(100_000)];
const expected = texts.map((text) => createHash('sha256').update(text).digest('hex'));

describe('SHA-256 of a text', () => {
  const { getBuiltinModule } = process;
  beforeEach(() => void jest.resetModules());
  afterEach(() => void Object.assign(process, { getBuiltinModule }));

  it("is computed at once by Node's own hash", async () => {
    const { sha256 } = await import('./sha256.js');
    expect(texts.map(sha256)).toEqual(expected);
  });

  it('is computed by Web Crypto where there are no modules of Node', async () => {
    Object.assign(process, { getBuiltinModule: undefined });
    const { sha256 } = await import('./sha256.js');
    expect(sha256('a')).toBeInstanceOf(Promise);
    expect(await Promise.all(texts.map(async (text) => await sha256(text)))).toEqual(expected);
  });
});
