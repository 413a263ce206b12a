/**
 * The generated parts of pages, between `<!-- generated: <what> -->` and `<!-- end -->`. A test
 * compares them with the code; `KVENT_DOCS=write npm run jest -- test/docs/reference.spec.ts`
 * writes them.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '@kvent/key-value-storage';
import { demoScript } from '../../apps/storefront/src/welcome/demo-script.js';
import type { CommandSpec } from '../../libs/cli/src/commands/declaration.js';
import { commands } from '../../libs/cli/src/commands/table.js';
import { declaredOptions, limitComments, type DeclaredOption } from './options-in-source.js';
import { root, type Page } from './pages.js';

const begin = /^<!-- generated: (.*) -->$/;
const end = '<!-- end -->';

/** The page with its generated parts as they should be. */
export function regenerated(page: Page): string {
  const lines: string[] = [];
  let inside = false;
  for (const line of page.lines) {
    if (line === end) inside = false;
    if (!inside) lines.push(line);
    const [, what] = begin.exec(line) ?? [];
    if (what === undefined) continue;
    inside = true;
    lines.push(...generate(what));
  }
  return lines.join('\n');
}

export function write(page: Page, text: string): void {
  writeFileSync(join(root, page.path), text);
}

/** The names of the generated parts of a page: `options RetryOptions`, `limits`, `walk`. */
export const generatedIn = (page: Page): readonly string[] =>
  page.lines.flatMap((line) => begin.exec(line)?.[1] ?? []);

function generate(what: string): readonly string[] {
  if (what === 'limits') return limitsTable();
  if (what === 'walk') return walkLines();
  if (what === 'commands') return commands.flatMap(commandLines);
  const [, name] = /^options (\w+)$/.exec(what) ?? [];
  const declared = name === undefined ? undefined : declaredOptions(name);
  if (declared === undefined) throw new Error(`Unknown generated part '${what}'.`);
  const parents = declared.parents.map((parent) => `those of \`${parent}\``);
  const words = [declared.meaning, parents.length === 0 ? '' : `Also ${parents.join(' and ')}.`].filter(
    (text) => text !== '',
  );
  return [
    ...(words.length === 0 ? [] : [words.join(' '), '']),
    '| Option | Type | Default | |',
    '|---|---|---|---|',
    ...declared.options.map(optionRow),
  ];
}

function optionRow(option: DeclaredOption): string {
  const byDefault = option.default ?? (option.required ? '(required)' : '');
  return `| \`${option.name}\` | ${code(option.type)} | ${cell(byDefault)} | ${cell(option.meaning)} |`;
}

const cell = (text: string): string => text.replaceAll('|', '\\|');
const code = (text: string): string => `\`${cell(text)}\``;

function limitsTable(): readonly string[] {
  const comments = limitComments();
  return [
    '| Limit | Value | Of what |',
    '|---|--:|---|',
    ...Object.entries(limits).map(
      ([name, value]) =>
        `| \`${name}\` | ${value.toLocaleString('en')} | ${cell(comments.get(name) ?? '')} |`,
    ),
  ];
}

/** The walk that the sample prints, and that `test/e2e` types into a shell line by line. */
function walkLines(): readonly string[] {
  const steps = demoScript(3000).map(({ about, command, statuses }) => {
    const answers = statuses.length === 0 ? '' : ` (${statuses.join(', ')})`;
    return [`# ${about}${answers}`, ...command.split('\n')];
  });
  return ['```sh', ...steps.flatMap((step, index) => (index === 0 ? step : ['', ...step])), '```'];
}

function commandLines({
  name,
  summary,
  arguments: positionals,
  options,
  writes,
  example,
}: CommandSpec): readonly string[] {
  const words = positionals.map((each) => (each.optional === true ? `[${each.name}]` : `<${each.name}>`));
  return [
    `## kvent ${name}`,
    '',
    `${summary} ${writes ? 'It writes.' : 'It only reads.'}`,
    '',
    '```sh',
    example,
    '```',
    '',
    '| Argument or option | | Default |',
    '|---|---|---|',
    ...positionals.map(({ text }, index) => `| \`${words[index] ?? ''}\` | ${cell(text)} | |`),
    ...options.map(
      ({ flags, text, required, default: byDefault }) =>
        `| \`${cell(flags)}\` | ${cell(text)} | ${required === true ? '(required)' : (byDefault ?? '')} |`,
    ),
    '',
  ];
}
