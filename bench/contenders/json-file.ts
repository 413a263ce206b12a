import { join } from 'node:path';
import { JsonFileProvider } from '@kvent/key-value-storage';
import type { Opening } from '../contender.js';
import { openStore } from './kvent.js';

export const openJsonFile: Opening = async (setup) =>
  await openStore(
    'kvent, JSON file',
    new JsonFileProvider({ directory: join(setup.directory, 'data') }),
    setup,
  );
