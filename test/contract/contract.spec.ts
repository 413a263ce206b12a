/** Every clause of the contract on every provider of `test/providers.ts`. */
import { describe, test } from '@jest/globals';
import { describeStorageProvider } from '@kvent/key-value-storage/testing';
import { providers } from '../providers.js';

for (const { name, ...provider } of providers) describeStorageProvider(name, provider, { describe, it: test });
