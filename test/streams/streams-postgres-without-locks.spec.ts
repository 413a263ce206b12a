/**
 * Every clause of the streams on Postgres without the locks of one process, as between processes.
 */
import { providers } from '../providers.js';
import { describeStreamsWithoutLocks } from './describe-stream-providers.js';

describeStreamsWithoutLocks(providers.filter(({ name }) => name === 'postgres'));
