/** `kvent copy` and `kvent restore`: copies databases, and compares both sides. */
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
import { counted, inSeconds, table, type Line, type Report } from '../output/report.js';
import { parseLocation, type Location } from '../input/location.js';
import type { TenantOptions } from '../input/database.js';
import { UsageError } from '../input/usage-error.js';
import { assertTables, openLocation, stepOf, type CommandContext, type StorageOptions } from './command.js';

export interface TargetOptions extends TenantOptions {
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
  const [source, target] = [parseLocation(from), parseLocation(to)];
  assertTables([source, target], { schema, table: rows });
  assertTables([source], { 'from-schema': fromSchema, 'from-table': fromTable });
  assertDifferentDirectories(source, target);
  const fromOptions = {
    ...options,
    ...(fromSchema && { schema: fromSchema }),
    ...(fromTable && { table: fromTable }),
  };
  await using openSource = await openLocation(source, 'source', fromOptions, context);
  await using openTarget = await openLocation(target, 'target', options, context);
  return await copyInto(
    openSource.provider,
    openTarget.provider,
    { ...options, command: 'copy', from: source.name, to: target.name },
    context,
  );
}

/** Two providers of one directory would wait for each other's lock. */
function assertDifferentDirectories(source: Location, target: Location): void {
  const [one, other] = [source, target].map((location) =>
    location.kind === 'directory' ? realPath(location.directory) : undefined,
  );
  if (one !== undefined && one === other)
    throw new UsageError(`Source and target must not be the same directory; got ${source.name}.`);
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined; // it does not exist yet
  }
}

interface CopyDescription {
  readonly command: 'copy' | 'restore';
  readonly from: string;
  readonly to: string;
}

export async function copyInto(
  from: CopySource,
  to: StorageProvider,
  { command, from: source, to: target, ...options }: TargetOptions & CopyDescription,
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
  { tenant, shared }: TenantOptions,
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
}: CopyDescription & {
  databases: readonly CopiedDatabase[];
  rows: number;
  sha256: string;
  seconds: number;
}): readonly Line[] {
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
    ...(leases === 0 ? [] : [`${counted(leases, 'lease', 'leases')} of open sessions were not copied.`]),
    `${from} and ${to} hold the same ${total}, compared one by one in ${inSeconds(seconds)}: sha256 ${sha256}`,
  ];
}
