/** Every clause of the contract on the providers that need no server. */
import { providers } from '../providers.js';
import { describeProviders } from './describe-providers.js';

describeProviders(providers.filter(({ server }) => server === undefined));
