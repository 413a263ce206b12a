import type { Batch, Change } from './storage-provider.js';

export type NumericChange = Extract<Change, { kind: 'sum' | 'min' | 'max' }>;

/** The change of a batch that only changes one number, without a check. */
export function numberChangeOf({ checks, changes, noWait }: Batch): NumericChange | undefined {
  const [change] = changes;
  if (change === undefined || changes.length > 1 || checks.length > 0 || noWait === true) return undefined;
  return change.kind === 'sum' || change.kind === 'min' || change.kind === 'max' ? change : undefined;
}
