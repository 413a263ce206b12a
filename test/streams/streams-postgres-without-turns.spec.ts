/**
 * Every clause of the streams on Postgres, without the turns that rivals of one process take: as
 * rivals of many processes meet.
 */
import { providers } from '../providers.js';
import { describeStreamsWithoutTurns } from './describe-stream-providers.js';

describeStreamsWithoutTurns(providers.filter(({ name }) => name === 'postgres'));
