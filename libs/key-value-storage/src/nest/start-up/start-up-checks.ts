/**
 * Mistakes in the features of states. They are found before anything is opened, so that a refused
 * start-up holds no file and no connection.
 */
import type { ResolvedState } from '../../core/store/state-definition.js';
import { FeatureKind, missingRoot, type Feature } from './feature-kind.js';

export const stateFeatures = new FeatureKind<ResolvedState>(
  'feature',
  nameOf,
  ({ container, entity }) => [container, entity],
  'Rename one, or give it a container of its own.',
);

export const noRoot = ({ definitions, declaredAt }: Feature<ResolvedState>) =>
  missingRoot(`KeyValueStorageModule.forFeature([${definitions.map(nameOf).join(', ')}]) (${declaredAt})`);

/** How a message calls a state: the class if there is one, and its name in the storage. */
function nameOf({ name, prototype }: ResolvedState): string {
  const className = (prototype?.constructor as { readonly name?: string } | undefined)?.name;
  return className ? `class ${className} ('${name}')` : `state '${name}'`;
}
