/** Spaces in the words of an application: the kind of their rows, and the state or stream type. */
import {
  counterContainer,
  counterSpace,
  decodeText,
  stateContainer,
  stateSpace,
  type Space,
} from '@kvent/key-value-storage/internal/rows';

export interface SpaceName {
  /** The first part of the container: `state`, `head`, `event` … */
  readonly kind: string;
  /** A state or a counter, with its container if it has one of its own; or a stream type. */
  readonly name: string;
}

export function describeSpace({ container, entity }: Omit<Space, 'database'>): SpaceName {
  const colon = container.indexOf(':');
  const kind = colon < 0 ? container : container.slice(0, colon);
  const group = textOf(container.slice(colon + 1));
  if (kind !== 'state' && kind !== 'counter') return { kind, name: group };
  const name = textOf(entity);
  const usual = kind === 'state' ? stateContainer : counterContainer;
  return { kind, name: group === usual ? name : `${name} (container ${group})` };
}

/** The space of a state, or with `counter` of a counter. */
export const spaceOf = (
  name: string,
  { counter, container }: { readonly counter?: boolean; readonly container?: string },
): Omit<Space, 'database'> =>
  counter === true
    ? counterSpace(name, container ?? counterContainer)
    : stateSpace(name, container ?? stateContainer);

const textOf = (encoded: string): string => decodeText(encoded) ?? encoded;
