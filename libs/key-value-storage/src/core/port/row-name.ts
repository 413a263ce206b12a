import type { RowAddress } from './storage-provider.js';

/** One text for a row within its database. No part of an address holds NUL. */
export const rowNameOf = ({ container, entity, key }: RowAddress): string =>
  `${container}\0${entity}\0${key}`;

/** The name of a row's lock: one text for a row among all databases. */
export const lockNameOf = (database: string, address: RowAddress): string =>
  `${database}\0${rowNameOf(address)}`;
