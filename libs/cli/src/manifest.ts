/**
 * The manifest of this package. The file stands beside `main.ts`, so that its distance to
 * `package.json` is the same in `src`, `dist` and `bundle`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const manifest = (): {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
} =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')) as ReturnType<
    typeof manifest
  >;

/** The ranges of the packages that this command is built with. */
export const packageRanges = (): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(manifest().dependencies).map(([name, version]) => [
      name,
      /^\d/.test(version) ? `^${version}` : version,
    ]),
  );
