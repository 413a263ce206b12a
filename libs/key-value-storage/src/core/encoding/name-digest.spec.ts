import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';

const names = ['', 'a', 'b', 'é€😀'];

describe('The digest of a name', () => {
  const { getBuiltinModule } = process;
  beforeEach(() => void jest.resetModules());
  afterEach(() => void Object.assign(process, { getBuiltinModule }));

  it('is the first half of its SHA-256', async () => {
    const { nameDigest } = await import('./name-digest.js');
    const halves = names.map((name) => createHash('sha256').update(name).digest('hex').slice(0, 32));
    expect(names.map(nameDigest)).toEqual(halves);
  });

  it('is there at once without the modules of Node too', async () => {
    Object.assign(process, { getBuiltinModule: undefined });
    const { nameDigest } = await import('./name-digest.js');
    expect(new Set(names.map(nameDigest)).size).toBe(names.length);
    expect(nameDigest('a')).toMatch(/^[0-9a-z]{1,14}$/);
  });
});
