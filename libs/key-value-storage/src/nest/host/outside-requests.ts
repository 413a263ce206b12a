import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * Runs work in the async context that this module was loaded in: none. Timers and background work
 * that a request begins would carry its context along (its tenant, its user, its trace), and keep
 * it in memory.
 */
export const outsideRequests = AsyncLocalStorage.snapshot();
