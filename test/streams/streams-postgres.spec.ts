/**
 * Every clause of the streams on Postgres: over the application's data source, each call in a
 * transaction of the application's, over a url, and under row-level security. A storage gathers
 * calls by itself.
 */
import { providers } from '../providers.js';
import { describeStreamProviders } from './describe-stream-providers.js';

describeStreamProviders(
  providers.filter(({ server, name }) => server === 'postgres' && name !== 'coalescing-postgres'),
);
