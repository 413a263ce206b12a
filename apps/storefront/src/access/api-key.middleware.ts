import { Injectable, type NestMiddleware } from '@nestjs/common';
import { headerOf, type NextFunction, type NodeRequest, type NodeResponse } from '../http/exchange.js';
import { AccessService } from './access.service.js';

/** Before `TenantMiddleware`: a request without a key does not learn which tenants exist. */
@Injectable()
export class ApiKeyMiddleware implements NestMiddleware {
  constructor(private readonly access: AccessService) {}

  async use(request: NodeRequest, _response: NodeResponse, next: NextFunction): Promise<void> {
    await this.access.assertTenant(headerOf(request, 'X-Api-Key'), headerOf(request, 'X-Tenant-Id'));
    next();
  }
}
