import { Injectable, type CanActivate, type ExecutionContext } from '@nestjs/common';
import type { Request } from 'express';
import { AccessService } from './access.service.js';

/** Only the key of the administrator passes, where the shop needs keys. */
@Injectable()
export class AdminGuard implements CanActivate {
  constructor(private readonly access: AccessService) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    await this.access.assertAdmin(context.switchToHttp().getRequest<Request>().get('X-Api-Key'));
    return true;
  }
}
