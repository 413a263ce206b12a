/** Spaces in the words of an application: the kind of their rows, and the state or stream type. */
import { decodeText, stateContainer, type Space } from '@kvent/key-value-storage/internal/rows';

export interface SpaceName {
  /** The first part of the container: `state`, `head`, `event` … */
  readonly kind: string;
  /** A state, with its container if it has one of its own; or a stream type. */
  readonly name: string;
}

export function describeSpace({ container, entity }: Omit<Space, 'database'>): SpaceName {
  const colon = container.indexOf(':');
  const kind = colon < 0 ? container : container.slice(0, colon);
  const group = textOf(container.slice(colon + 1));
  if (kind !== 'state') return { kind, name: group };
  const name = textOf(entity);
  return { kind, name: group === stateContainer ? name : `${name} (container ${group})` };
}

const textOf = (encoded: string): string => decodeText(encoded) ?? encoded;
