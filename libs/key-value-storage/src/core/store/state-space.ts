/** The encoded address of a state's rows. */
import { encodeText } from '../encoding/text-encoding.js';
import type { Space } from '../port/storage-provider.js';

/** The container of states that name none. */
export const stateContainer = 'state';

export const stateSpace = (name: string, container: string): Omit<Space, 'database'> => ({
  container: `state:${encodeText(container)}`,
  entity: encodeText(name),
});
