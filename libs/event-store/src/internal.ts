/**
 * The door for the command line, which depends on the exact version: the rows of streams, without
 * their definitions. It loads few modules. No promise: any release may change or remove these
 * names. No Nest.
 */
export { streamContainers } from './core/definition/stream-containers.js';
export { headIn, type Head } from './core/rows/head.js';
export { numbersIn, StreamAddresses } from './core/rows/stream-addresses.js';
export { unlockBatch } from './core/rows/stream-batches.js';
