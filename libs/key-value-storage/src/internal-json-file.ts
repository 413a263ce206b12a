/** The door to the JSON file alone: a command that uses it loads no stores. No promise. No Nest. */
export { JsonFileProvider } from './providers/json-file/json-file-provider.js';
export { StoreFollower } from './providers/json-file/store-follower.js';
