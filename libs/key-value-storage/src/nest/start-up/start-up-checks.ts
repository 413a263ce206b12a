/**
 * Checks of the features of states and counters. They run before anything is opened, so that a
 * refused start-up leaves no open file or connection.
 */
import type { ModulesContainer } from '@nestjs/core';
import type { ResolvedCounter } from '../../core/store/counter-definition.js';
import type { ResolvedState } from '../../core/store/state-definition.js';
import { FeatureKind, missingRoot, type Feature } from './feature-kind.js';

/** A state or a counter. */
export type Resolved = ResolvedState | ResolvedCounter;

export const stateFeatures = new FeatureKind<Resolved>(
  'feature',
  nameOf,
  ({ container, entity }) => [container, entity],
  'Rename one, or give it another container.',
);

export const noRoot = ({ definitions, declaredAt }: Feature<Resolved>, modules: ModulesContainer) =>
  missingRoot(
    `KeyValueStorageModule.forFeature([${definitions.map(nameOf).join(', ')}]) (${declaredAt})`,
    modules,
  );

/** The name in messages: the class of a state, if there is one, and the stored name. */
function nameOf({ kind, name, prototype }: Resolved): string {
  const className = (prototype?.constructor as { readonly name?: string } | undefined)?.name;
  return className ? `class ${className} ('${name}')` : `${kind} '${name}'`;
}
