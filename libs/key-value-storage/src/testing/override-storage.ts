import type { TestingModuleBuilder } from '@nestjs/testing';
import type { StorageProvider } from '../core/port/storage-provider.js';
import { storageOverrideToken, type StorageOverride } from '../nest/options/storage-override.js';

/**
 * Every store of the module under test on this provider: `await
 * overrideStorage(Test.createTestingModule({ imports: [AppModule] }), new MemoryProvider({ clock
 * })).compile()`. Only the provider is replaced: tenancy, retries and states stay, and the app's
 * own providers are neither made (where they are functions) nor opened. Engines that the root names
 * share it too, unless `providers` gives them one of their own.
 */
export function overrideStorage(
  builder: TestingModuleBuilder,
  provider: StorageProvider,
  providers: Readonly<Record<string, StorageProvider>> = {},
): TestingModuleBuilder {
  const override: StorageOverride = { provider, providers };
  return builder.overrideProvider(storageOverrideToken).useValue(override);
}
