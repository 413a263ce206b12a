/** Parameters and pages of streams: past versions and events. */
import { referenceTo } from '@kvent/key-value-storage';
import type { AnyEvent, AnyStream, EventStream, PointInTime, Recorded } from '@kvent/event-store';
import { z } from 'zod';
import type { ShopRequest, ShopResponse } from './exchange.js';
import { whole } from './paging.js';

export const Version = whole.transform(Number).pipe(z.int().min(1));

export const PointQuery = z
  .strictObject({
    version: Version.optional().describe('The state at this version.'),
    at: z.iso.datetime({ offset: true }).optional().describe('The state at this time.'),
  })
  .refine((query) => query.version === undefined || query.at === undefined, 'a version or a time, not both');

/** As options of the stream. */
export function pointIn({ version, at }: z.infer<typeof PointQuery>): PointInTime {
  if (version !== undefined) return { atVersion: version };
  return at === undefined ? {} : { atTime: new Date(at) };
}

export const EventsQuery = z.strictObject({
  from: Version.optional().describe('The first version.'),
  to: Version.optional().describe('The last version, inclusive.'),
  order: z.enum(['asc', 'desc']).default('asc'),
  limit: Version.pipe(z.int().max(1_000))
    .default(100)
    .describe('The maximum number of events, from 1 to 1000. Default: 100.'),
});

const ShownEvent = z.object({
  version: z.int(),
  type: z.string(),
  data: z.unknown(),
  recordedAt: z.iso.datetime(),
  correlationId: z.string().optional(),
});
/** For the API page. */
export const EventsPage = z.object({
  items: z.array(ShownEvent),
  next: z.int().optional().describe('The first version of the next page.'),
});

const show = ({ version, type, data, recordedAt, metadata }: Recorded<AnyEvent>) => ({
  version,
  type,
  data,
  recordedAt,
  correlationId: metadata.correlationId,
});

/** A page of a stream's events; `STREAM_NOT_FOUND`. */
export async function answerEvents(
  stream: Pick<EventStream<AnyStream>, 'read' | 'loadOrThrow'>,
  id: string,
  { from, to, order, limit }: z.infer<typeof EventsQuery>,
  request: ShopRequest,
  response: ShopResponse,
): Promise<{ items: ReturnType<typeof show>[]; next?: number }> {
  const range = {
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    reverse: order === 'desc',
    limit: limit + 1,
  };
  const events: Recorded<AnyEvent>[] = [];
  for await (const event of stream.read(id, range) as AsyncIterable<Recorded<AnyEvent>>) events.push(event);
  if (events.length === 0) await stream.loadOrThrow(id);
  const items = events.slice(0, limit).map((event) => show(event));
  const next = events[limit]?.version;
  if (next === undefined) return { items };
  const link = referenceTo(request, order === 'asc' ? 'from' : 'to', String(next));
  response.header('Link', `<${link}>; rel="next"`);
  return { items, next };
}
