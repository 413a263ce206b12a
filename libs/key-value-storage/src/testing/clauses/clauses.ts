/** The contract, in the order of its laws. */
import type { Clause } from '../clause.js';
import { noLostUpdateClauses } from './no-lost-update.js';

export const clauses: readonly Clause[] = [...noLostUpdateClauses];
