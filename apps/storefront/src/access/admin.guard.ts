import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { headerOf, type ShopRequest } from '../http/exchange.js';
import { AccessService } from './access.service.js';

/** Only the key of the administrator passes, where the shop needs keys. */
@Injectable()
export class AdminGuard implements CanActivate {
  constructor(private readonly access: AccessService) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    await this.access.assertAdmin(headerOf(context.switchToHttp().getRequest<ShopRequest>(), 'X-Api-Key'));
    return true;
  }
}
