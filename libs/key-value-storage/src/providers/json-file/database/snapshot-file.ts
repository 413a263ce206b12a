/**
 * A snapshot is one JSON document with one row per line, sorted, so that `diff` and `git` show what
 * changed. Each row has a checksum, which identifies a damaged line; the last line has the number
 * of rows and the checksum of everything before it.
 *
 * ```text
 * {"sum":"…","kvent":"snapshot","format":1,"database":"tenant:acme","generation":3,"upTo":120,"time":1763694000000,"rows":[
 * {"sum":"…","container":"state:catalog","entity":"product","key":"sku-1","version":"…","updatedAt":…,"json":{"title":"Tea"}},
 * …
 * ],"count":2,"all":"…"}
 * ```
 */
import { crc32 } from 'node:zlib';
import type { RowEffect } from '../../../core/port/evaluate-batch.js';
import type { RawRow } from '../../../core/port/storage-provider.js';
import type { FileSystem, OpenFile } from '../disk/file-system.js';
import { format, wallOf } from '../format/journal-line.js';
import { readLines, writeAll } from '../disk/line-reader.js';
import { readEffect, RowTexts } from '../format/row-text.js';
import { hex, isIntact, seal, sealAt, unsealed } from '../format/sealed-line.js';

interface SnapshotHeader {
  readonly format: number;
  readonly database: string;
  readonly generation: number;
  /** The last commit that it contains. */
  readonly upTo: number;
  /** The latest time of its commits. */
  readonly time: number;
  /** The wall clock at that time, if it was behind. */
  readonly wall?: number;
}

const bufferLength = 256 * 1_024;

/**
 * Writes a new file and syncs it; returns its length. `throwIfStopped` is called after each page.
 * An unfinished file is removed.
 */
export async function writeSnapshot(
  fileSystem: FileSystem,
  path: string,
  header: Omit<SnapshotHeader, 'format'>,
  pages: Iterable<readonly RawRow[]>,
  throwIfStopped: () => void,
): Promise<number> {
  const file = await fileSystem.open(path, 'create');
  try {
    const bytes = await writeContent(new Writer(file), header, pages, throwIfStopped);
    await file.sync();
    await file.close();
    return bytes;
  } catch (error) {
    await file.close().catch(() => undefined);
    await fileSystem.remove(path).catch(() => undefined);
    throw error;
  }
}

async function writeContent(
  writer: Writer,
  header: Omit<SnapshotHeader, 'format'>,
  pages: Iterable<readonly RawRow[]>,
  throwIfStopped: () => void,
): Promise<number> {
  const { database, generation, upTo, time, wall } = header;
  const first = `"kvent":"snapshot","format":${format},"database":${JSON.stringify(database)},"generation":${generation}`;
  writer.text = seal(
    `${first},"upTo":${upTo},"time":${Number.isFinite(time) ? time : 0}${wallOf({ time, wall })},"rows":[`,
  );
  const texts = new RowTexts();
  let count = 0;
  for (const page of pages) {
    for (const { row, ...address } of page) {
      writer.text += `${count === 0 ? '\n' : ',\n'}${unsealed}${texts.of({ address, row }).slice(1)}`;
      count += 1;
    }
    throwIfStopped();
    if (writer.text.length >= bufferLength) await writer.flush();
  }
  writer.text += '\n';
  await writer.flush();
  writer.text = `],"count":${count},"all":"${hex(writer.sum)}"}\n`;
  await writer.flush();
  return writer.position;
}

class Writer {
  text = '';
  /** Of everything written. */
  sum = 0;
  position = 0;
  readonly #file: OpenFile;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  /** Seals the lines that begin after a line feed, and writes the text. */
  async flush(): Promise<void> {
    const bytes = Buffer.from(this.text);
    this.text = '';
    for (let at = bytes.indexOf(lineFeed); at >= 0 && at + 1 < bytes.length;) {
      const next = bytes.indexOf(lineFeed, at + 1);
      const end = next < 0 ? bytes.length : next;
      sealAt(bytes, at + 1, bytes[end - 1] === comma ? end - 1 : end);
      at = next;
    }
    await writeAll(this.#file, bytes, this.position);
    this.sum = crc32(bytes, this.sum);
    this.position += bytes.length;
  }
}

interface SnapshotReader {
  header(header: SnapshotHeader): void;
  row(row: RowEffect): void;
  /** Called for each unreadable line, and once if the snapshot is incomplete. May throw. */
  damage(line: number, what: string): void;
}

/** Reads a snapshot; returns its length. */
export async function readSnapshot(file: OpenFile, reader: SnapshotReader): Promise<number> {
  let sum = 0;
  let count = 0;
  let lines = 0;
  let complete = false;
  const bytes = await readLines(file, (line, number) => {
    lines = number;
    if (complete) return reader.damage(number, 'there is data after the last line');
    if (line[0] === closing) {
      complete = true;
      if (!line.equals(Buffer.from(`],"count":${count},"all":"${hex(sum)}"}`)))
        reader.damage(number, 'the rows above are not the rows that were written');
      return;
    }
    sum = crc32(lineFeed, crc32(line, sum));
    if (number === 1) return readHeader(line, reader);
    count += 1;
    const row = readEntry(line.at(-1) === comma ? line.subarray(0, -1) : line);
    if (row === undefined) reader.damage(number, 'the line is damaged');
    else reader.row(row);
  });
  if (!complete) reader.damage(lines + 1, 'the snapshot ends before its last line');
  return bytes;
}

const comma = ','.charCodeAt(0);
const closing = ']'.charCodeAt(0);
const lineFeed = Buffer.from('\n');

function readHeader(line: Buffer, reader: SnapshotReader): void {
  if (!isIntact(line)) return reader.damage(1, 'the first line is damaged');
  let header: SnapshotHeader;
  try {
    header = JSON.parse(`${line.toString()}]}`) as SnapshotHeader;
  } catch {
    return reader.damage(1, 'the first line is damaged');
  }
  if (!Number.isSafeInteger(header.upTo) || !Number.isFinite(header.time))
    return reader.damage(1, 'the first line is damaged');
  reader.header(header);
}

function readEntry(line: Buffer): RowEffect | undefined {
  if (!isIntact(line)) return undefined;
  try {
    return readEffect(line);
  } catch {
    return undefined;
  }
}
