/**
 * `kvent tail`: prints the events of a stream as they are appended. A directory is read without its
 * lock, because the application that appends has it open.
 */
import { setTimeout } from 'node:timers/promises';
import type { StorageProvider } from '@kvent/key-value-storage/internal/rows';
import type { DatabaseList } from '../input/database.js';
import { parseLocation, type Location } from '../input/location.js';
import { dataLine, type Report } from '../output/report.js';
import { assertTables, withAdvice, withStorage, type CommandContext } from './command.js';
import { eventCells, readEvents, readStream, streamAddresses, type StreamOptions } from './one-stream.js';

interface Options extends StreamOptions {
  /** @default the first version that is appended from now on */
  readonly from?: number;
  /** Seconds. */
  readonly interval: number;
}

interface Source extends DatabaseList, Pick<StorageProvider, 'read' | 'scan'> {
  /** Only of a source that reads the rows of its last refresh. */
  refresh?(database: string, signal: AbortSignal): Promise<void>;
}

const nothingMore: Report = { json: undefined, text: [] };
const pageEvents = 200;

export async function tail(options: Options, context: CommandContext): Promise<Report> {
  const location = parseLocation(options.storage);
  if (location.kind === 'directory') await tailDirectory(location, options, context);
  else await withStorage('source', options, context, (provider) => follow(provider, options, context));
  return nothingMore;
}

async function tailDirectory(
  location: Location & { readonly kind: 'directory' },
  options: Options,
  context: CommandContext,
): Promise<void> {
  assertTables([location], { schema: options.schema, table: options.table });
  const { directoryFollower } = await import('../input/open-directory.js');
  try {
    await follow(directoryFollower(location.directory), options, context);
  } catch (error) {
    throw withAdvice(error, location);
  }
}

/** Ends when the reader of the output has gone, or when the signal is aborted. */
async function follow(source: Source, options: Options, { signal, print }: CommandContext): Promise<void> {
  const addresses = await streamAddresses(source, options);
  const { database } = addresses;
  await source.refresh?.(database, signal);
  const { head } = await readStream(source, addresses, signal);
  try {
    for (let next = options.from ?? head.version + 1; ;) {
      const events = await readEvents(source, addresses, { from: next, limit: pageEvents }, signal);
      for (const event of events) {
        if (!(await print({ json: event, text: [dataLine(eventCells(event).join('  ').trimEnd())] }))) return;
        next = event.version + 1;
      }
      if (events.length > 0) continue;
      await setTimeout(options.interval * 1_000, undefined, { signal });
      await source.refresh?.(database, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
