/** Opens directories. A module of its own, so that Postgres is used without it. */
import { JsonFileProvider, StoreFollower } from '@kvent/key-value-storage/internal/json-file';
import type { StorageProvider } from '@kvent/key-value-storage/internal/rows';
import type { OpenOptions } from './open-options.js';

const access = {
  source: { create: 'never', readOnly: true },
  existing: { create: 'never' },
  target: { create: 'if-missing' },
} as const;

export const directoryProvider = (directory: string, { role, waitMs, warn }: OpenOptions): StorageProvider =>
  new JsonFileProvider({ directory, ...access[role], lockTimeoutMs: waitMs, warn });

/** Takes no lock: another process may have the directory open, or open it. */
export const directoryFollower = (directory: string): StoreFollower => new StoreFollower({ directory });
