import { Injectable, type NestMiddleware } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';
import { AccessService } from './access.service.js';

/** Before `TenantMiddleware`: a request without a key does not learn which tenants exist. */
@Injectable()
export class ApiKeyMiddleware implements NestMiddleware {
  constructor(private readonly access: AccessService) {}

  async use(request: Request, response: Response, next: NextFunction): Promise<void> {
    if (this.access.needsKeys) response.vary('X-Api-Key');
    await this.access.assertTenant(request.get('X-Api-Key'), request.get('X-Tenant-Id'));
    next();
  }
}
