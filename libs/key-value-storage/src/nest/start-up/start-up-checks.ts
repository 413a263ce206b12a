/**
 * Checks of the features of states. They run before anything is opened, so that a refused start-up
 * leaves no open file or connection.
 */
import type { ResolvedState } from '../../core/store/state-definition.js';
import { FeatureKind, missingRoot, type Feature } from './feature-kind.js';

export const stateFeatures = new FeatureKind<ResolvedState>(
  'feature',
  nameOf,
  ({ container, entity }) => [container, entity],
  'Rename one, or give it another container.',
);

export const noRoot = ({ definitions, declaredAt }: Feature<ResolvedState>) =>
  missingRoot(`KeyValueStorageModule.forFeature([${definitions.map(nameOf).join(', ')}]) (${declaredAt})`);

/** The name of a state in messages: its class, if there is one, and its stored name. */
function nameOf({ name, prototype }: ResolvedState): string {
  const className = (prototype?.constructor as { readonly name?: string } | undefined)?.name;
  return className ? `class ${className} ('${name}')` : `state '${name}'`;
}
