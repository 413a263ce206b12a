/**
 * The commands of the guide run in their order, and print the text below them; `…` stands for what
 * differs from run to run.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { defineStream, event, EventStore } from '@kvent/event-store/core';
import { defineState, JsonFileProvider, openStorage } from '@kvent/key-value-storage';
import { commands } from '../../libs/cli/src/commands/table.js';
import { Output, type OutputStream } from '../../libs/cli/src/output/output.js';
import { run } from '../../libs/cli/src/run.js';
import { pageAt, type Fence } from './pages.js';

const originalFolder = process.cwd();
const folder = mkdtempSync(join(tmpdir(), 'kvent-docs-cli-'));

beforeAll(async () => {
  process.chdir(folder);
  const storage = await openStorage(new JsonFileProvider({ directory: './data' }), { tenant: 'acme' });
  const products = storage.store(defineState<{ title: string }>('product'));
  await products.set('mug', { title: 'Mug' });
  await products.set('mug/blue', { title: 'Blue mug' });
  await products.set(['tea', 1], { title: 'Tea' });
  const Orders = defineStream('order', {
    events: { placed: event<{ cents: number }>(), paid: event() },
    initial: () => 'none',
    evolve: (_, { type }) => type,
  });
  const orders = new EventStore(storage).stream(Orders);
  const events = [{ type: 'placed', data: { cents: 900 } }, { type: 'paid' }] as const;
  await orders.append('o-1', events, { expectedVersion: 'absent' });
  await storage.close();
});
afterAll(() => {
  process.chdir(originalFolder);
  rmSync(folder, { recursive: true });
});

interface Example {
  readonly command: string;
  readonly expected: string;
}

/** Each `sh` block of one command before a `text` block with its output. */
const examples = pageAt('docs/guides/command-line.md').fences.flatMap(
  ({ language, lines }, index, fences): readonly Example[] => {
    const next: Fence | undefined = fences[index + 1];
    const [command = ''] = lines;
    if (language !== 'sh' || next?.language !== 'text') return [];
    return [{ command: command.replace(/^npx kvent /, ''), expected: `${next.lines.join('\n')}\n` }];
  },
);

it.each(examples)('npx kvent $command', async ({ command, expected }) => {
  let printed = '';
  const stream: OutputStream = {
    write: (text, done) => {
      printed += text;
      done?.();
    },
    on: () => undefined,
  };
  const { exitCode } = await run(wordsOf(command), new Output(stream, stream, (text) => text));
  expect({ exitCode, printed: generalized(printed) }).toEqual({
    exitCode: 0,
    printed: generalized(expected),
  });
});

it('the guides show every command', () => {
  const text = ['command-line', 'moving-data']
    .map((name) => pageAt(`docs/guides/${name}.md`).lines.join('\n'))
    .join('\n');
  expect(commands.filter(({ name }) => !text.includes(`kvent ${name}`)).map(({ name }) => name)).toEqual([]);
});

/** Words as a shell splits them; single quotes hold words together. */
const wordsOf = (command: string): readonly string[] =>
  Array.from(command.matchAll(/'([^']*)'|(\S+)/g), ([, quoted, word]) => quoted ?? word ?? '');

/** Etags and times as `…`; one blank for the width of columns. */
const generalized = (text: string): string =>
  text
    .replace(/\b\d{10,19}\b|\b\d{4}-\d\d-\d\dT[\d:.]+Z|…|(?<=: )[\d,]+(?= bytes? freed)/g, '…')
    .replace(/ {2,}/g, ' ');
