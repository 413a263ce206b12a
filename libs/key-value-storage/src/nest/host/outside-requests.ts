import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * Runs work without an async context: that of the load of this module. Otherwise timers and
 * background work of a request would keep its context (tenant, user, trace), also in memory.
 */
export const outsideRequests = AsyncLocalStorage.snapshot();
