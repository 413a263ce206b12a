/** Who works at the clinic: a login that ends half an hour after its last use. */
import { randomUUID } from 'node:crypto';
import {
  Body,
  Controller,
  Injectable,
  Post,
  UnauthorizedException,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';
import { InjectStore, KeyValueStore, State } from '@kvent/key-value-storage';
import type { Request } from 'express';

@State('login', { ttlMs: 30 * 60_000, expiry: 'sliding' })
export class Login {
  user!: string;
}

@Controller('logins')
export class LoginsController {
  constructor(@InjectStore(Login) private readonly logins: KeyValueStore<Login>) {}

  @Post()
  async begin(@Body() { user }: { user: string }) {
    const { key } = await this.logins.add(randomUUID(), { user });
    return { token: key };
  }
}

/** `get` renews the login, because its expiry is sliding. */
@Injectable()
export class LoginGuard implements CanActivate {
  constructor(@InjectStore(Login) private readonly logins: KeyValueStore<Login>) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<Request & { user?: { id: string } }>();
    const token = request.headers.authorization?.replace(/^Bearer /, '') ?? '';
    const login = token === '' ? undefined : await this.logins.get(token);
    if (login === undefined) throw new UnauthorizedException();
    request.user = { id: login.value.user };
    return true;
  }
}
