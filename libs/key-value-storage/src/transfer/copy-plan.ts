/**
 * Plans the work for each database, and refuses a copy that must not start. Nothing is written
 * here.
 */
import type { CopySettings } from './copy-options.js';
import { unfinishedCopy } from './unfinished-copy.js';
import type { CopySource } from './copy-source.js';
import { invalidOption } from '../core/base/options.js';
import type { StorageProvider } from '../core/port/storage-provider.js';

export interface Planned {
  readonly database: string;
  /** `compare`: it exists and must equal the source. `replace`: it is dropped first. */
  readonly work: 'copy' | 'compare' | 'replace';
}

/** `only`: one database instead of all. */
export async function planCopy(
  from: CopySource,
  to: StorageProvider,
  { ifPresent }: CopySettings,
  only?: string,
): Promise<readonly Planned[]> {
  const [held, taken] = await Promise.all([from.administration.databases(), to.administration.databases()]);
  if (only !== undefined && !held.includes(only))
    throw invalidOption(
      `${from.name} has no database '${only}'; ${held.length === 0 ? 'it is empty' : `it has ${someOf(held)}`}.`,
    );
  const plan: Planned[] = [];
  for (const database of only === undefined ? held : [only]) {
    const unfinished = await unfinishedCopy(from, database);
    if (unfinished !== undefined)
      throw invalidOption(`'${database}' of ${from.name} is ${unfinished}. Finish that copy first.`);
    const work = taken.includes(database) ? await workFor(to, database, ifPresent) : 'copy';
    plan.push({ database, work });
  }
  return plan;
}

async function workFor(
  to: StorageProvider,
  database: string,
  ifPresent: CopySettings['ifPresent'],
): Promise<Planned['work']> {
  if (ifPresent === 'replace') return 'replace';
  const unfinished = await unfinishedCopy(to, database);
  if (ifPresent === 'resume') return unfinished === undefined ? 'compare' : 'replace';
  if (unfinished !== undefined)
    throw invalidOption(
      `The target is not empty: '${database}' of ${to.name} is ${unfinished}. To drop it and copy again: ifPresent: 'resume' (kvent: --resume).`,
    );
  const spaces = (await to.administration.spaces(database)).map(({ container, entity }) =>
    entity === '' ? container : `${container} / ${entity}`,
  );
  throw invalidOption(
    `The target is not empty: '${database}' of ${to.name} holds ${someOf(spaces)}. Nothing was written. Choose an empty target, or drop it with ifPresent: 'replace' (kvent: --replace).`,
  );
}

function someOf(names: readonly string[]): string {
  const some = names.slice(0, 3).map((name) => `'${name}'`);
  return names.length > some.length
    ? `${some.join(', ')} and ${names.length - some.length} more`
    : some.join(', ');
}
