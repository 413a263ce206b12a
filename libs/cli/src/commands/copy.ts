/** `kvent copy` and `kvent restore`: databases from one place to another, compared in the end. */
import { realpathSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import {
  copyDatabase,
  copyStorage,
  type CopiedDatabase,
  type CopySource,
  type CopyStorageOptions,
  type StorageProvider,
} from '@kvent/key-value-storage/core';
import { hashOfDatabases, sharedDatabase } from '@kvent/key-value-storage/internal';
import { counted, inSeconds, table, type Report } from '../output/report.js';
import { placeOf, type Place } from '../input/location.js';
import { UsageError } from '../input/usage-error.js';
import {
  assertTables,
  openAt,
  stepOf,
  type ChoiceOptions,
  type CommandContext,
  type StorageOptions,
} from './command.js';

export interface TargetOptions extends ChoiceOptions {
  readonly resume?: boolean;
  readonly replace?: boolean;
}
export interface CopyOptions extends TargetOptions, StorageOptions {
  readonly from: string;
  readonly to: string;
  readonly fromSchema?: string;
  readonly fromTable?: string;
}

export async function copy(options: CopyOptions, context: CommandContext): Promise<Report> {
  const { from, to, schema, table: rows, fromSchema, fromTable } = options;
  const [source, target] = [placeOf(from), placeOf(to)];
  assertTables([source, target], { schema, table: rows });
  assertTables([source], { 'from-schema': fromSchema, 'from-table': fromTable });
  assertTwoPlaces(source, target);
  const fromOptions = {
    ...options,
    ...(fromSchema && { schema: fromSchema }),
    ...(fromTable && { table: fromTable }),
  };
  await using opened = await openAt(source, 'source', fromOptions, context);
  await using taking = await openAt(target, 'target', options, context);
  return await copyInto(
    opened.provider,
    taking.provider,
    { ...options, command: 'copy', from: source.name, to: target.name },
    context,
  );
}

/** Two providers of one directory would wait for each other's lock. */
function assertTwoPlaces(source: Place, target: Place): void {
  const [one, other] = [source, target].map((place) =>
    place.kind === 'directory' ? realPath(place.directory) : undefined,
  );
  if (one !== undefined && one === other)
    throw new UsageError(`Source and target are the same directory: ${source.name}.`);
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined; // not there yet
  }
}

interface Told {
  readonly command: 'copy' | 'restore';
  readonly from: string;
  readonly to: string;
}

export async function copyInto(
  from: CopySource,
  to: StorageProvider,
  { command, from: source, to: target, ...options }: TargetOptions & Told,
  { signal, progress }: CommandContext,
): Promise<Report> {
  const begun = performance.now();
  const settings: CopyStorageOptions = {
    ifPresent: options.replace === true ? 'replace' : options.resume === true ? 'resume' : 'refuse',
    signal,
    onProgress: (now) => progress.show({ what: stepOf(now), rows: now.rows, total: now.total }),
  };
  const databases = await copyChosen(from, to, options, settings);
  const seconds = (performance.now() - begun) / 1_000;
  const rows = databases.reduce((sum, each) => sum + each.rows, 0);
  const report = {
    command,
    from: source,
    to: target,
    databases,
    rows,
    sha256: await hashOfDatabases(databases),
    seconds,
  };
  return { json: report, text: textOf(report) };
}

async function copyChosen(
  from: CopySource,
  to: StorageProvider,
  { tenant, shared }: ChoiceOptions,
  settings: CopyStorageOptions,
): Promise<readonly CopiedDatabase[]> {
  if (shared === true) return [await copyDatabase(from, to, { ...settings, database: sharedDatabase })];
  if (tenant !== undefined) return [await copyDatabase(from, to, { ...settings, tenant })];
  return (await copyStorage(from, to, settings)).databases;
}

function textOf({
  from,
  to,
  databases,
  rows,
  sha256,
  seconds,
}: Told & {
  databases: readonly CopiedDatabase[];
  rows: number;
  sha256: string;
  seconds: number;
}): readonly string[] {
  if (databases.length === 0) return [`${from} is empty: there was nothing to copy.`];
  const leases = databases.reduce((sum, each) => sum + each.leases, 0);
  const total = `${counted(rows, 'row', 'rows')} in ${counted(databases.length, 'database', 'databases')}`;
  return [
    ...table(
      databases.map((each) => [
        each.database,
        each.outcome,
        each.rows,
        each.rows === 1 ? 'row ' : 'rows',
        each.sha256,
      ]),
    ),
    ...(leases === 0 ? [] : [`${counted(leases, 'lease', 'leases')} of open sessions stayed behind.`]),
    `${from} and ${to} hold the same ${total}, compared one by one in ${inSeconds(seconds)}: sha256 ${sha256}`,
  ];
}
