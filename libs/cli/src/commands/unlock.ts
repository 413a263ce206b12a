/** `kvent unlock`: ends the session that holds a stream. */
import { unlockBatch } from '@kvent/event-store/internal';
import { storageError } from '@kvent/key-value-storage/internal/rows';
import type { Report } from '../output/report.js';
import { assertWrite, withStorage, type CommandContext } from './command.js';
import { commitBatch } from './commit-batch.js';
import { noStream, readStream, streamAddresses, type StreamOptions } from './one-stream.js';

interface Options extends StreamOptions {
  readonly write?: boolean;
}

export async function unlock(options: Options, context: CommandContext): Promise<Report> {
  assertWrite('unlock', options);
  const { signal } = context;
  const stream = `${options.type} ${options.id}`;
  return await withStorage('existing', options, context, async (provider) => {
    const addresses = await streamAddresses(provider, options);
    const { database } = addresses;
    const { head, lease } = await readStream(provider, addresses, signal);
    if (head.row === undefined) throw noStream(addresses, options);
    const held = head.kind === 'held' && lease !== undefined;
    if (held) {
      const result = await commitBatch(provider, database, unlockBatch(addresses, head), signal);
      if (result.outcome === 'conflict')
        throw storageError(
          'STORAGE_CONFLICT',
          `The stream ${stream} changed in between. Nothing was changed: run the command again.`,
          { key: options.id, expected: String(head.version), actual: result.actual, check: 'own' },
        );
    }
    return {
      json: {
        command: 'unlock',
        storage: provider.name,
        database,
        type: options.type,
        id: options.id,
        version: head.version,
        unlocked: held,
      },
      text: [
        held
          ? `The stream ${stream} is free at version ${head.version}. The session that held it can write no more.`
          : `No session holds the stream ${stream}: nothing was changed.`,
      ],
    };
  });
}
