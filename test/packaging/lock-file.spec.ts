import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

interface Locked {
  readonly resolved?: string;
  readonly link?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const lock = JSON.parse(readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8')) as {
  packages: Record<string, Locked>;
};
const packages = Object.entries(lock.packages);

describe('the lock file', () => {
  it('has no download addresses, so that any registry can be used', () => {
    expect(
      packages
        .filter(([, { resolved, link }]) => resolved !== undefined && link !== true)
        .map(([path]) => path),
    ).toEqual([]);
  });

  it('has the packages of every platform, so that `npm ci` works on all of them', () => {
    const missing = packages.flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies)
        .filter((name) => !isInstalledFor(path, name))
        .map((name) => `${path} → ${name}`),
    );
    expect(missing).toEqual([]);
  });
});

/** Resolves like Node: in the node_modules of the package, then in each one above. */
function isInstalledFor(path: string, name: string): boolean {
  if (`${path === '' ? '' : `${path}/`}node_modules/${name}` in lock.packages) return true;
  const above = path.lastIndexOf('/node_modules/');
  return path !== '' && isInstalledFor(above === -1 ? '' : path.slice(0, above), name);
}
