/** `kvent backup`: writes a storage to one file. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { writeBackup } from '../backup/write-backup.js';
import { counted, inSeconds, table, type Report } from '../output/report.js';
import { assertTargetFile } from '../input/assert-target-file.js';
import { parseLocation } from '../input/location.js';
import { UsageError } from '../input/usage-error.js';
import { chosenDatabases, type TenantOptions } from '../input/database.js';
import { assertTables, openLocation, type CommandContext, type StorageOptions } from './command.js';

export interface BackupCommandOptions extends StorageOptions, TenantOptions {
  readonly from: string;
  readonly to: string;
  readonly replace?: boolean;
  readonly allowEmpty?: boolean;
}

export async function backup(options: BackupCommandOptions, context: CommandContext): Promise<Report> {
  const { from, to, schema, table: rows } = options;
  const source = parseLocation(from);
  assertTables([source], { schema, table: rows });
  const path = fileFor(to, options);
  await using opened = await openLocation(source, 'source', options, context);
  const begun = performance.now();
  const written = await writeBackup(opened.provider, path, {
    databases: await chosenDatabases(opened.provider, options),
    signal: context.signal,
    replace: options.replace === true,
    allowEmpty: options.allowEmpty === true,
    onRows: (step, count, database) =>
      context.progress.show({
        what: database === undefined ? step : `${step} ${database}`,
        rows: count,
        total: undefined,
      }),
  });
  const seconds = (performance.now() - begun) / 1_000;
  const bytes = statSync(path).size;
  return {
    json: { command: 'backup', from: source.name, to: path, ...written, bytes, seconds },
    text: [
      ...table(
        written.databases.map((each) => [
          each.database,
          each.rows,
          each.rows === 1 ? 'row ' : 'rows',
          each.sha256,
        ]),
      ),
      `${path} holds ${counted(written.rows, 'row', 'rows')} in ${counted(written.databases.length, 'database', 'databases')}, ${counted(bytes, 'byte', 'bytes')}, written and read back in ${inSeconds(seconds)}: sha256 ${written.sha256}`,
    ],
  };
}

/** In a directory, the name of a backup is the time. */
function fileFor(to: string, options: BackupCommandOptions): string {
  const isDirectory = existsSync(to) && statSync(to).isDirectory();
  const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const path = isDirectory ? join(to, `kvent-${time}.jsonl.gz`) : to;
  assertTargetFile(path, options);
  if (path.endsWith('/')) throw new UsageError(`There is no directory ${to}.`);
  return path;
}
