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
  it('holds no download addresses, so that everybody installs from the registry of their choice', () => {
    expect(
      packages
        .filter(([, { resolved, link }]) => resolved !== undefined && link !== true)
        .map(([path]) => path),
    ).toEqual([]);
  });

  it('holds the packages of every platform, so that `npm ci` works on all of them', () => {
    const missing = packages.flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies)
        .filter((name) => !isInstalledFor(path, name))
        .map((name) => `${path} → ${name}`),
    );
    expect(missing).toEqual([]);
  });
});

/** As Node looks it up: in the package's own node_modules, then in each one above. */
function isInstalledFor(path: string, name: string): boolean {
  if (`${path === '' ? '' : `${path}/`}node_modules/${name}` in lock.packages) return true;
  const above = path.lastIndexOf('/node_modules/');
  return path !== '' && isInstalledFor(above === -1 ? '' : path.slice(0, above), name);
}
