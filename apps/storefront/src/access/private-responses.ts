import type { NextFunction, NodeRequest, NodeResponse } from '../http/exchange.js';
import type { AccessService } from './access.service.js';

/**
 * The default of every response, errors and unknown routes included: no shared cache sends it to
 * another caller, whether the cache honours `Cache-Control` or `Vary`. A route may be stricter.
 */
export const privateResponses =
  ({ needsKeys }: AccessService) =>
  (_request: NodeRequest, response: NodeResponse, next: NextFunction): void => {
    response.setHeader('Cache-Control', 'private, no-cache');
    if (needsKeys) response.setHeader('Vary', 'X-Api-Key');
    next();
  };
