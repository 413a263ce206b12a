/**
 * Every clause of the streams on the providers that keep everything in memory; and once more on
 * memory, with the turns that rivals take taken away.
 */
import { providers } from '../providers.js';
import { describeStreamProviders, describeStreamsWithoutTurns } from './describe-stream-providers.js';

const inMemory = ['memory', 'coalescing-memory', 'observed-memory', 'documents'];
describeStreamProviders(providers.filter(({ name }) => inMemory.includes(name)));
describeStreamsWithoutTurns(providers.filter(({ name }) => name === 'memory'));
