/** `docs/reference/contract.md`, printed from the clauses. */
import { clauses, capabilities, storeClauses, type Capability } from '@kvent/key-value-storage/testing';

const laws: Readonly<Record<number, string>> = {
  1: 'Atomic',
  2: 'Durable',
  3: 'No lost update',
  4: 'Etags',
  5: 'Absent, null, empty and failed are four different things',
  6: 'Expiry',
  7: 'Keys',
  8: 'Lists',
  9: 'Watches',
  10: 'Isolation',
  11: 'Unknown is not failed',
  12: 'Cancellation',
  13: 'Limits',
  14: 'Damage is loud',
};

interface Line {
  readonly name: string;
  readonly law: number;
  readonly capability?: Capability;
  readonly broken: { readonly fault: string };
}

export function contractPage(): string {
  const lines = [
    '# The contract of a storage provider',
    '',
    '<!-- Printed from the clauses by test/contract/contract-page.spec.ts: `KVENT_DOCS=write npm run jest -- test/contract/contract-page` writes it anew. -->',
    '',
    `Every storage provider and every wrapper proves these ${clauses.length + storeClauses.length} sentences, each on a fresh provider; each sentence is also run on a provider that is broken on purpose, and has to catch it. [Write your own provider](../guides/write-your-own-provider.md) tells how to run them on yours; [the promises](../promises.md) say what they mean for an application.`,
    '',
    ...section(
      'The port',
      'What an engine has to fulfil: `StorageProvider` in `@kvent/key-value-storage/core`.',
      clauses,
    ),
    ...section(
      'The stores above it',
      'What `KeyValueStore` and `AtomicBatch` do on any provider.',
      storeClauses,
    ),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

function section(title: string, words: string, all: readonly Line[]): readonly string[] {
  const numbers = [...new Set(all.map(({ law }) => law))];
  return [
    `## ${title}`,
    '',
    words,
    '',
    ...numbers.flatMap((law) => [
      `### ${title}: ${law}. ${laws[law] ?? ''}`,
      '',
      '| Clause | It catches a provider that … |',
      '|---|---|',
      ...all.filter((line) => line.law === law).map(row),
      '',
    ]),
  ];
}

const row = ({ name, capability, broken }: Line): string =>
  `| ${cell(name)}${capability === undefined ? '' : ` *(needs ${cell(capabilities[capability].words)})*`} | ${cell(broken.fault)} |`;

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('*', '\\*');
