/** `kvent tail`: prints the events of a stream as they are appended. */
import { setTimeout } from 'node:timers/promises';
import type { StreamAddresses } from '@kvent/event-store/internal';
import type { StorageProvider } from '@kvent/key-value-storage/internal/rows';
import { parseLocation } from '../input/location.js';
import { UsageError } from '../input/usage-error.js';
import type { Report } from '../output/report.js';
import { withStorage, type CommandContext } from './command.js';
import { eventCells, readEvents, readStream, streamAddresses, type StreamOptions } from './one-stream.js';

interface Options extends StreamOptions {
  /** @default the first version that is appended from now on */
  readonly from?: number;
  /** Seconds. */
  readonly interval: number;
}

const nothingMore: Report = { json: undefined, text: [] };
const pageEvents = 200;

export async function tail(options: Options, context: CommandContext): Promise<Report> {
  if (parseLocation(options.storage).kind === 'directory')
    throw new UsageError(
      'kvent tail follows streams in Postgres: no process can append to a directory while another one has it open.',
    );
  return await withStorage('source', options, context, async (provider) => {
    const addresses = await streamAddresses(provider, options);
    const { head } = await readStream(provider, addresses, context.signal);
    try {
      await follow(provider, addresses, options.from ?? head.version + 1, options.interval * 1_000, context);
    } catch (error) {
      if (!context.signal.aborted) throw error;
    }
    return nothingMore;
  });
}

/** Ends when the reader of the output has gone; rejects when the signal is aborted. */
async function follow(
  provider: StorageProvider,
  addresses: StreamAddresses,
  from: number,
  intervalMs: number,
  { signal, print }: CommandContext,
): Promise<void> {
  for (let next = from; ;) {
    const events = await readEvents(provider, addresses, { from: next, limit: pageEvents }, signal);
    for (const event of events) {
      if (!(await print({ json: event, text: [eventCells(event).join('  ').trimEnd()] }))) return;
      next = event.version + 1;
    }
    if (events.length === 0) await setTimeout(intervalMs, undefined, { signal });
  }
}
