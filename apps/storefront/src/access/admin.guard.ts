import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { headerOf, type ShopRequest, type ShopResponse } from '../http/exchange.js';
import { AccessService } from './access.service.js';

/**
 * Only the key of the administrator passes, where the shop needs keys. No cache stores the
 * response, whatever the guard decides.
 */
@Injectable()
export class AdminGuard implements CanActivate {
  constructor(private readonly access: AccessService) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const http = context.switchToHttp();
    http.getResponse<ShopResponse>().header('Cache-Control', 'private, no-store');
    await this.access.assertAdmin(headerOf(http.getRequest<ShopRequest>(), 'X-Api-Key'));
    return true;
  }
}
