/** The lines of a file, zipped or not, as bytes: a line of JSON may hold whatever else other readers take for the end of a line. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';

const lineFeed = 0x0a;

/** Without their line feeds. What stands behind the last one comes too, as a line of its own. Rejects as the disk or the unzipper does. */
export async function* linesOf(path: string): AsyncGenerator<Buffer, undefined> {
  let rest: Buffer[] = [];
  for await (const chunk of await bytesOf(path)) {
    let begin = 0;
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, begin)) {
      const line = chunk.subarray(begin, end);
      yield rest.length === 0 ? line : Buffer.concat([...rest, line]);
      rest = [];
      begin = end + 1;
    }
    if (begin < chunk.length) rest.push(chunk.subarray(begin));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
  return undefined;
}

async function bytesOf(path: string): Promise<AsyncIterable<Buffer>> {
  const zipped = await beginsZipped(path);
  const file = createReadStream(path, { highWaterMark: 256 * 1_024 });
  if (!zipped) return file as AsyncIterable<Buffer>;
  // what goes wrong is told to whoever reads the last of them
  return pipeline(file, createGunzip(), () => undefined) as AsyncIterable<Buffer>;
}

/** By its first two bytes, whatever it is called. */
async function beginsZipped(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}
