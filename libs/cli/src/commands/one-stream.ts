/** What the commands for one stream share: its addresses, its head and its events. */
import { headIn, numbersIn, StreamAddresses, streamContainers, type Head } from '@kvent/event-store/internal';
import {
  encodeText,
  storageError,
  type Row,
  type ScanRange,
  type StorageProvider,
} from '@kvent/key-value-storage/internal/rows';
import { chosenDatabase, type DatabaseList, type TenantOptions } from '../input/database.js';
import { fromArgument } from '../input/usage-error.js';
import { timeText } from '../output/report.js';
import { valueJson } from '../output/stored-value.js';
import type { StorageOptions } from './command.js';

export interface StreamOptions extends StorageOptions, TenantOptions {
  readonly storage: string;
  readonly type: string;
  readonly id: string;
}

/** An event as it is stored: it is not converted by `upcast`. */
interface EventJson {
  readonly version: number;
  readonly type: string;
  readonly recordedAt: string;
  readonly data: unknown;
  readonly metadata: unknown;
  readonly schemaVersion: number;
}

export async function streamAddresses(
  provider: DatabaseList,
  options: StreamOptions,
): Promise<StreamAddresses> {
  const database = await chosenDatabase(provider, options);
  return fromArgument(
    'The id',
    () => new StreamAddresses(database, streamContainers(encodeText(options.type)), options.id),
  );
}

/** The head of a stream and the lease of its session, if one holds it. */
export async function readStream(
  provider: Pick<StorageProvider, 'read'>,
  addresses: StreamAddresses,
  signal: AbortSignal,
): Promise<{ readonly head: Head; readonly lease: Row | undefined }> {
  const {
    rows: [headRow, lease],
  } = await provider.read([addresses.head, addresses.lease], { signal });
  const head = headIn(addresses.head, headRow);
  return { head, lease: head.kind === 'held' ? lease : undefined };
}

/** `KEY_NOT_FOUND` for a stream without a head. */
export const noStream = ({ database }: StreamAddresses, { type, id }: StreamOptions): Error =>
  storageError('KEY_NOT_FOUND', `There is no stream ${type} ${id} in '${database}'.`, { key: id });

/** One page of events; `from` is inclusive. */
export async function readEvents(
  provider: Pick<StorageProvider, 'scan'>,
  addresses: StreamAddresses,
  {
    from,
    limit,
    reverse = false,
  }: { readonly from: number; readonly limit: number; readonly reverse?: boolean },
  signal: AbortSignal,
): Promise<readonly EventJson[]> {
  const start = addresses.event(from).key;
  const range: ScanRange = { ...addresses.rangeOf('event'), start, limit, reverse };
  const [page] = await provider.scan([range], { signal });
  return (page?.rows ?? []).map(({ key, row }) => {
    const { schemaVersion, value } = valueJson(row);
    const { type, data, metadata } = (value ?? {}) as Partial<EventJson>;
    return {
      version: numbersIn(key)?.[0] ?? 0,
      type: String(type),
      recordedAt: timeText(row.updatedAt),
      data,
      metadata,
      schemaVersion,
    };
  });
}

/** The cells of an event: version, type, time, data and metadata. */
export const eventCells = (event: EventJson): readonly (string | number)[] => [
  event.version,
  event.type,
  event.recordedAt,
  jsonText(event.data),
  jsonText(event.metadata),
];

const jsonText = (value: unknown): string => (value === undefined ? '' : JSON.stringify(value));
