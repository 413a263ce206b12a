/** Every clause of the streams on the JSON file, with and without locks. */
import { providers } from '../providers.js';
import { describeStreamProviders, describeStreamsWithoutLocks } from './describe-stream-providers.js';

const jsonFile = providers.filter(({ name }) => name === 'json-file');
describeStreamProviders(jsonFile);
describeStreamsWithoutLocks(jsonFile);
