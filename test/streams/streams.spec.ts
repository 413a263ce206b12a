/** Every clause of the streams on every provider of `test/providers.ts`; and once more on memory, with the turns that rivals take taken away. */
import { describe, test } from '@jest/globals';
import { describeStreams } from '@kvent/event-store/testing';
import { providers } from '../providers.js';

for (const { name, lacks, ...provider } of providers) {
  describeStreams(name, { ...provider, only: ({ needs }) => needs === undefined || !lacks.includes(needs) }, { describe, it: test });
}

const memory = providers.find(({ name }) => name === 'memory');
if (memory !== undefined) {
  const { lacks, ...provider } = memory;
  describeStreams(
    'memory, without turns',
    { ...provider, turns: 'none', only: ({ needs }) => needs === undefined || !lacks.includes(needs) },
    { describe, it: test },
  );
}
