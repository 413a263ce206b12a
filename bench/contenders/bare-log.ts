/**
 * References: append a JSON line to a file and call fdatasync, for each call alone, or for all
 * calls that arrived during the sync before.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Contender, Opening, Traits } from '../contender.js';
import { keyAt, product } from '../product.js';

const traits: Traits = {
  survives: 'power loss',
  comparesAndSets: false,
  returns: 'nothing',
  note: 'a reference: it cannot read',
};

export const openLineLog: Opening = async ({ keys, directory }) => {
  const file = await open(join(directory, 'log.jsonl'), 'a');
  let last: Promise<void> = Promise.resolve();
  const append = (line: string): Promise<void> => (last = last.then(() => appendSynced(file, line)));
  return contender('JSON line + fdatasync', (call) => append(lineOf(keyAt(keys, call))), file);
};

export const openGroupLog: Opening = async ({ keys, directory }) => {
  const file = await open(join(directory, 'log.jsonl'), 'a');
  let pending: string[] = [];
  let next: Promise<void> | undefined;
  let last: Promise<void> = Promise.resolve();
  const append = (line: string): Promise<void> => {
    pending.push(line);
    return (next ??= last =
      last.then(async () => {
        const lines = pending.join('');
        pending = [];
        next = undefined;
        await appendSynced(file, lines);
      }));
  };
  return contender('JSON lines + fdatasync, grouped', (call) => append(lineOf(keyAt(keys, call))), file);
};

const lineOf = (key: string): string => `${JSON.stringify({ key, value: product })}\n`;

async function appendSynced(file: FileHandle, lines: string): Promise<void> {
  await file.appendFile(lines);
  await file.datasync();
}

function contender(name: string, append: (call: number) => Promise<void>, file: FileHandle): Contender {
  return { name, traits, verbs: { set: append, append }, close: () => file.close() };
}
