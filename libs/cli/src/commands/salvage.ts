/** `kvent salvage`: copies the readable rows of a damaged directory to a new one. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { salvageJsonFile } from '@kvent/key-value-storage/core';
import { counted, inSeconds, table, type Report } from '../output/report.js';
import { parseLocation } from '../input/location.js';
import type { CommandContext } from './command.js';
import { UsageError } from '../input/usage-error.js';

export interface SalvageCommandOptions {
  readonly from: string;
  readonly to: string;
}

export async function salvage(
  { from, to }: SalvageCommandOptions,
  { signal }: Pick<CommandContext, 'signal'>,
): Promise<Report> {
  const [source, target] = [directoryOf(from), directoryOf(to)];
  if (!looksLikeAStore(source))
    throw new UsageError(`There is no store in ${source}: no marker, journal or snapshot.`);
  const begun = performance.now();
  const { databases } = await salvageJsonFile(source, target, { signal });
  const seconds = (performance.now() - begun) / 1_000;
  const rows = databases.reduce((sum, each) => sum + each.rows, 0);
  const damage = databases.flatMap((each) => each.damage);
  return {
    json: { command: 'salvage', from: source, to: target, databases, rows, seconds },
    text: [
      ...table(
        databases.map((each) => [
          each.database,
          each.rows,
          each.rows === 1 ? 'row ' : 'rows',
          damageOf(each.damage.length),
        ]),
      ),
      ...damage.map(({ place, what }) => `  ${place}: ${what}`),
      `${target} holds ${counted(rows, 'row', 'rows')} of ${source}, copied in ${inSeconds(seconds)}; ${damage.length === 0 ? 'nothing was damaged.' : 'the rows at the places above are missing, perhaps a part of a batch.'}`,
    ],
  };
}

const damageOf = (count: number): string =>
  count === 0 ? 'nothing damaged' : `${counted(count, 'place', 'places')} damaged`;

function directoryOf(given: string): string {
  const location = parseLocation(given);
  if (location.kind === 'directory') return location.directory;
  throw new UsageError(
    'Only directories of JsonFileProvider can be salvaged; for Postgres, restore a backup.',
  );
}

/** A wrong path must not look like a store without readable rows. */
function looksLikeAStore(directory: string): boolean {
  try {
    return readdirSync(directory, { withFileTypes: true }).some(
      (entry) =>
        entry.name === '.kvent.json' ||
        (entry.isDirectory() &&
          readdirSync(join(directory, entry.name)).some((name) =>
            /^(journal|snapshot)-\d+\.json/.test(name),
          )),
    );
  } catch {
    return false;
  }
}
