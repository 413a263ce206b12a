/**
 * The command line has no definitions of indexes: before it changes a value, it makes the indexes
 * of the state unready. The next process that uses them builds them again.
 */
import { setTimeout } from 'node:timers/promises';
import { unreadyIndexes, type Space, type StorageProvider } from '@kvent/key-value-storage/internal/rows';
import { commitBatch } from './commit-batch.js';

/** Longer than a process relies on the status of an index. */
const leaveMs = 1_000;
const attemptsMax = 10;

export async function makeIndexesUnready(
  provider: StorageProvider,
  space: Space,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
    const batch = await unreadyIndexes(provider, space);
    if (batch.changes.length === 0) return;
    const { outcome } = await commitBatch(provider, space.database, batch, signal);
    if (outcome === 'conflict') continue;
    if (provider.features.shared) await setTimeout(leaveMs, undefined, { signal });
    return;
  }
}
