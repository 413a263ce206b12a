/** Responses of any length as JSON lines, sent at the speed of the client. */
import { Readable } from 'node:stream';
import { StreamableFile } from '@nestjs/common';

export const jsonLinesType = 'application/x-ndjson';

/** Lines are sent together, because each chunk costs a system call. */
const chunkLength = 16_384;

/**
 * A line for each item. An error before the first line is thrown, and so becomes a problem; after
 * it, the connection is closed without an end, so that no client takes a part for the whole. When
 * the client goes away, `return` of the items is called.
 */
export async function jsonLines(items: AsyncIterable<unknown>): Promise<StreamableFile> {
  const iterator = items[Symbol.asyncIterator]();
  const first = await iterator.next();
  const lines = Readable.from(chunksOf(first, iterator), { objectMode: false });
  // not in a `finally` of the generator: one that has not begun does not run it
  lines.once('close', () => void iterator.return?.().catch(() => undefined));
  return new StreamableFile(lines, { type: jsonLinesType });
}

async function* chunksOf(
  first: IteratorResult<unknown>,
  iterator: AsyncIterator<unknown>,
): AsyncGenerator<string, void> {
  let chunk = '';
  for (let next = first; next.done !== true; next = await iterator.next()) {
    chunk += `${JSON.stringify(next.value)}\n`;
    if (chunk.length < chunkLength) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}
