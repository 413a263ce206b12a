/** `kvent stream show`: prints the events of a stream. */
import { dataLine, headedTable, timeText, type Report } from '../output/report.js';
import { withStorage, type CommandContext } from './command.js';
import {
  eventCells,
  noStream,
  readEvents,
  readStream,
  streamAddresses,
  type StreamOptions,
} from './one-stream.js';

interface Options extends StreamOptions {
  readonly from: number;
  readonly limit: number;
  readonly reverse?: boolean;
}

export async function streamShow(options: Options, context: CommandContext): Promise<Report> {
  const { from, limit, reverse = false } = options;
  const { signal } = context;
  return await withStorage('source', options, context, async (provider) => {
    const addresses = await streamAddresses(provider, options);
    const { head, lease } = await readStream(provider, addresses, signal);
    if (head.row === undefined) throw noStream(addresses, options);
    const events = await readEvents(provider, addresses, { from, limit, reverse }, signal);
    const { version, kind: state } = head;
    const until = lease === undefined ? null : timeText(lease.expiresAt);
    const last = events.at(-1)?.version ?? version;
    const next = reverse || last >= version ? null : last + 1;
    const session = until === null ? '' : ` A session holds it until ${until}.`;
    return {
      json: {
        command: 'stream show',
        storage: provider.name,
        database: addresses.database,
        type: options.type,
        id: options.id,
        version,
        state,
        heldUntil: until,
        events,
        next,
      },
      text: [
        ...headedTable(['version', 'type', 'recorded', 'data', 'metadata'], events.map(eventCells)),
        dataLine(
          state === 'deleted'
            ? `The stream ${options.type} ${options.id} was deleted at version ${version}.`
            : `The stream ${options.type} ${options.id} is at version ${version}.${session}`,
        ),
        ...(next === null ? [] : [dataLine(`More events follow: --from ${next}`)]),
      ],
    };
  });
}
