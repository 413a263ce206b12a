/** `kvent restore`: copies a backup into a storage. The whole file is verified before any write. */
import { BackupFile } from '../backup/backup-file.js';
import type { Report } from '../output/report.js';
import { parseLocation } from '../input/location.js';
import { assertTables, openLocation, type CommandContext, type StorageOptions } from './command.js';
import { copyInto, type TargetOptions } from './copy.js';

export interface RestoreOptions extends TargetOptions, StorageOptions {
  readonly from: string;
  readonly to: string;
}

export async function restore(options: RestoreOptions, context: CommandContext): Promise<Report> {
  const { from, to, schema, table } = options;
  const target = parseLocation(to);
  assertTables([target], { schema, table });
  await using file = await BackupFile.open(from, context.signal, (rows) =>
    context.progress.show({ what: `reading ${from}`, rows, total: undefined }),
  );
  await using opened = await openLocation(target, 'target', options, context);
  return await copyInto(
    file,
    opened.provider,
    { ...options, command: 'restore', from, to: target.name },
    context,
  );
}
