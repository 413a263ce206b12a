/**
 * Handwritten event streams in files: a file of JSON lines for each stream, an append with
 * fdatasync, the versions in memory. The lean one has no ids, no metadata and no times.
 */
import { randomUUID } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Contender, Opening, Setup } from '../contender.js';
import { keyAt, product, type Product } from '../product.js';
import {
  bulkIds,
  event as changed,
  hundred,
  readEvents,
  readIds,
  streamIds,
  Versions,
} from '../stream-work.js';

const extras = () => ({ id: randomUUID(), metadata: {}, recordedAt: new Date().toISOString() });

async function openLines(name: string, isLean: boolean, { directory }: Setup): Promise<Contender> {
  const versions = new Versions();
  const fileOf = (id: string): string => join(directory, `${id}.jsonl`);
  const append = async (id: string, events: readonly (typeof changed)[]): Promise<void> => {
    const version = versions.of(id);
    const lines = events.map((event, index) =>
      JSON.stringify({ version: version + 1 + index, ...event, ...(isLean ? {} : extras()) }),
    );
    versions.add(id, events.length);
    const file = await open(fileOf(id), 'a');
    try {
      await file.appendFile(`${lines.join('\n')}\n`);
      await file.datasync();
    } finally {
      await file.close();
    }
  };
  const read = async (id: string): Promise<readonly { readonly data: Product }[]> => {
    const lines = (await readFile(fileOf(id), 'utf8')).split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as { readonly data: Product });
  };
  for (const id of readIds)
    for (let index = 0; index < readEvents; index += hundred.length) await append(id, hundred);
  return {
    name,
    traits: {
      survives: 'power loss',
      comparesAndSets: false,
      returns: 'fresh copy',
      note: `one file of JSON lines for each stream, one process${isLean ? '; no ids, no metadata, no times' : ''}`,
    },
    verbs: {
      append: (call) => append(keyAt(streamIds, call), [changed]),
      'append 100': (call) => append(keyAt(bulkIds, call), hundred),
      'read 1,000': async (call) => {
        const events = await read(keyAt(readIds, call));
        if (events.filter(({ data }) => data.stock === product.stock).length !== readEvents)
          throw new Error('Events are missing.');
      },
    },
    verify: () => versions.assertLengths(name, async (id) => (await read(id)).length),
  };
}

export const openJsonLines: Opening = (setup) => openLines('JSON lines by hand', false, setup);
export const openLeanJsonLines: Opening = (setup) => openLines('JSON lines by hand, lean', true, setup);
