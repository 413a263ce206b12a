/** Every clause of the contract on some of the providers of `test/providers.ts`. */
import { describe, expect, test } from '@jest/globals';
import {
  abilitiesOf,
  applies,
  clauses,
  describeStorageProvider,
  capabilities,
  type Capability,
  type Clause,
  type StoreClause,
} from '@kvent/key-value-storage/testing';
import type { ListedProvider } from '../providers.js';

const ofPort: ReadonlySet<unknown> = new Set(clauses);

export function describeProviders(providers: readonly ListedProvider[]): void {
  for (const { name, lacks, portOnly, ...provider } of providers) {
    const only = (clause: Clause | StoreClause): boolean =>
      (clause.capability === undefined || !lacks.includes(clause.capability)) &&
      (portOnly === undefined || ofPort.has(clause));
    describeStorageProvider(name, { ...provider, only }, { describe, it: test });

    // Without this, a lost feature would silently skip its clauses.
    test(`${name} has every capability except: ${lacks.join(', ')}`, async () => {
      const abilities = await abilitiesOf(provider);
      const unmet = (Object.keys(capabilities) as Capability[]).filter(
        (capability) => !applies({ capability }, abilities),
      );
      expect(unmet.toSorted()).toEqual(lacks.toSorted());
    });
  }
  test('each provider is listed once', () => {
    const names = providers.map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
  });
}
