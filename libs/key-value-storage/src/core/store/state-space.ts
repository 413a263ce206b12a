/** The encoded address of the rows of a state or a counter. */
import { encodeText } from '../encoding/text-encoding.js';
import type { Space } from '../port/storage-provider.js';

/** The container of states that name none. */
export const stateContainer = 'state';

export const stateSpace = (name: string, container: string): Omit<Space, 'database'> => ({
  container: `state:${encodeText(container)}`,
  entity: encodeText(name),
});

/** Whether a space holds the entries of a state, and no counters. */
export const isStateSpace = ({ container }: Pick<Space, 'container'>): boolean =>
  container.startsWith('state:');

/** The container of counters that name none. */
export const counterContainer = 'counter';
/** The container of sharded counters that name none. */
export const shardedCounterContainer = 'sharded';

export const counterSpace = (name: string, container: string): Omit<Space, 'database'> => ({
  container: `counter:${encodeText(container)}`,
  entity: encodeText(name),
});
