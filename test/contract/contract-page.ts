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
    `Every storage provider and every wrapper fulfils these ${clauses.length + storeClauses.length} clauses. Each clause runs on a fresh provider. It also runs on a provider that is broken on purpose, and must detect it. [Write your own provider](../guides/write-your-own-provider.md) explains how to run the clauses on your provider; [the promises](../promises.md) explain what they mean for an application.`,
    '',
    ...section(
      'The port',
      'The requirements for an engine: `StorageProvider` in `@kvent/key-value-storage/core`.',
      clauses,
    ),
    ...section(
      'The stores',
      'The behaviour of `KeyValueStore` and `AtomicBatch` on every provider.',
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
      '| Clause | Detects a provider that … |',
      '|---|---|',
      ...all.filter((line) => line.law === law).map(row),
      '',
    ]),
  ];
}

const row = ({ name, capability, broken }: Line): string =>
  `| ${cell(name)}${capability === undefined ? '' : ` *(requires ${cell(capabilities[capability].words)})*`} | ${cell(broken.fault)} |`;

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('*', '\\*');
