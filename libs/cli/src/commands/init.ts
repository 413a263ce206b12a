/** `kvent init`: adds Kvent to an existing Nest application. It asks nothing. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readApplication } from '../init/application.js';
import { planInit, providerNames, type FileChange, type ProviderName } from '../init/plan.js';
import { UsageError } from '../input/usage-error.js';
import { lineDiff } from '../output/line-diff.js';
import type { Line, Report } from '../output/report.js';
import type { CommandContext } from './command.js';

interface Options {
  readonly folder?: string;
  readonly provider: string;
  readonly example?: boolean;
  readonly dryRun?: boolean;
}

export async function init(
  { folder = '.', provider, example, dryRun }: Options,
  { packageRanges }: CommandContext,
): Promise<Report> {
  if (!isProviderName(provider))
    throw new UsageError(`--provider must be ${providerNames.join(' or ')}; got ${provider}.`);
  const app = await readApplication(folder);
  const { changes, notes } = await planInit(app, { provider, example: example === true }, packageRanges());
  if (dryRun !== true)
    for (const { path, before, after } of changes)
      // wx: a file that appeared in between is not overwritten
      await writeFile(join(folder, path), after, { flag: before === undefined ? 'wx' : 'w' });
  const next = changes.some(({ path }) => path === 'package.json') ? [`${app.packageManager} install`] : [];
  return {
    json: {
      command: 'init',
      nest: app.nestMajor,
      modules: app.modules,
      testRunner: app.testRunner ?? null,
      changed: changes.map(({ path }) => path),
      written: dryRun !== true,
      notes,
      next,
    },
    text: [
      ...(dryRun === true ? changes.flatMap(diffLines) : changes.map(changeLine)),
      ...(changes.length === 0 ? ['Kvent is set up already: nothing was changed.'] : []),
      ...notes,
      ...(dryRun === true ? ['Nothing was changed: repeat the command without --dry-run.'] : []),
      ...(dryRun === true ? [] : next.map((command) => `Next: ${command}`)),
    ],
  };
}

const isProviderName = (name: string): name is ProviderName =>
  (providerNames as readonly string[]).includes(name);

const changeLine = ({ path, before }: FileChange): Line =>
  `${before === undefined ? 'created' : 'changed'} ${path}`;

const diffLines = ({ path, before, after }: FileChange): readonly Line[] => [
  { text: path, style: 'heading' },
  ...lineDiff(before ?? '', after),
];
