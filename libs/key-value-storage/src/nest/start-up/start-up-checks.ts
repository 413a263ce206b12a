/**
 * Checks of the features of states and counters. They run before anything is opened, so that a
 * refused start-up leaves no open file or connection.
 */
import type { ResolvedAny } from '../../core/store/counter-definition.js';
import { FeatureKind, type Feature } from './feature-kind.js';

export const stateFeatures = new FeatureKind<ResolvedAny>(
  'feature',
  nameOf,
  ({ container, entity }) => [container, entity],
  'Rename one, or give it another container.',
);

/** The call of `forFeature`, as messages name it. */
export const forFeatureCall = ({ definitions, declaredAt }: Feature<ResolvedAny>): string =>
  `KeyValueStorageModule.forFeature([${definitions.map(nameOf).join(', ')}]) (${declaredAt})`;

/** The name in messages: the class of a state, if there is one, and the stored name. */
function nameOf({ kind, name, prototype }: ResolvedAny): string {
  const className = (prototype?.constructor as { readonly name?: string } | undefined)?.name;
  return className ? `class ${className} ('${name}')` : `${kind} '${name}'`;
}
