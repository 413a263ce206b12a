/** Every clause of the streams on the JSON file; a storage gathers calls for it by itself. */
import { providers } from '../providers.js';
import { describeStreamProviders, describeStreamsWithoutTurns } from './describe-stream-providers.js';

const jsonFile = providers.filter(({ name }) => name === 'json-file');
describeStreamProviders(jsonFile);
describeStreamsWithoutTurns(jsonFile);
