/**
 * Every clause of the streams on Postgres: with the application's data source, with each call in a
 * transaction of the application, with a url, and with row-level security.
 */
import { providers } from '../providers.js';
import { describeStreamProviders } from './describe-stream-providers.js';

describeStreamProviders(providers.filter(({ server }) => server === 'postgres'));
