/** `kvent compact`: removes the traces of deleted and expired data from the files. */
import { counted, type Report } from '../output/report.js';
import { assertWrite, withStorage, type CommandContext, type StorageOptions } from './command.js';

interface Options extends StorageOptions {
  readonly storage: string;
  readonly write?: boolean;
}

export async function compact(options: Options, context: CommandContext): Promise<Report> {
  assertWrite('compact', options);
  return await withStorage('existing', options, context, async ({ name, administration }) => {
    const freedBytes = await administration.compact?.();
    return {
      json: {
        command: 'compact',
        storage: name,
        compacted: freedBytes !== undefined,
        freedBytes: freedBytes ?? 0,
      },
      text: [
        freedBytes === undefined
          ? `${name} needs no compaction: Postgres reuses the space of removed rows after its autovacuum. VACUUM FULL, which locks the table, returns it to the disk.`
          : `${name} is compacted: ${counted(freedBytes, 'byte', 'bytes')} freed. The files hold no deleted and no expired value.`,
      ],
    };
  });
}
