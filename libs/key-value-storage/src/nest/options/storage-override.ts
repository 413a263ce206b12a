/**
 * The test's provider instead of the application's. Apart from Nest, which `/testing` must not
 * load.
 */
import type { StorageProvider } from '../../core/port/storage-provider.js';

export interface StorageOverride {
  readonly provider: StorageProvider;
  readonly providers: Readonly<Record<string, StorageProvider>>;
}

// Symbol.for: the two doors may be loaded from two copies of the package.
export const storageOverrideToken = Symbol.for('kvent.storage-override');
