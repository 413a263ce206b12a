/** Every clause of the streams on the providers in memory; on memory also without locks. */
import { providers } from '../providers.js';
import { describeStreamProviders, describeStreamsWithoutLocks } from './describe-stream-providers.js';

const inMemory = ['memory', 'coalescing-memory', 'observed-memory', 'documents'];
describeStreamProviders(providers.filter(({ name }) => inMemory.includes(name)));
describeStreamsWithoutLocks(providers.filter(({ name }) => name === 'memory'));
