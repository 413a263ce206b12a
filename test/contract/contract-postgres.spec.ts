/**
 * Every clause of the contract on Postgres, as applications use it: over their own data source, or
 * a url; alone, in groups, and in their transactions.
 */
import { providers } from '../providers.js';
import { describeProviders } from './describe-providers.js';

describeProviders(providers.filter(({ server }) => server === 'postgres'));
