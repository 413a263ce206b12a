import { Controller, Get, Inject, Req } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { ShopRequest } from '../http/exchange.js';
import { demoShops } from '../seed.js';
import { chosenStorageToken, type ChosenStorage } from '../storage.js';
import { demoScript } from './demo-script.js';

@ApiTags('shop')
@Controller()
export class WelcomeController {
  readonly #storage: ChosenStorage;

  constructor(@Inject(chosenStorageToken) storage: ChosenStorage) {
    this.#storage = storage;
  }

  @Get()
  @ApiOperation({ summary: 'The demo as data' })
  welcome(@Req() request: ShopRequest) {
    return {
      name: 'Storefront',
      storage: this.#storage.kind,
      tenants: demoShops.map(({ id }) => id),
      docs: '/docs',
      // Not the Host header: these lines are pasted into shells.
      try: demoScript(request.socket.localPort ?? 3000).map(({ about, command, statuses }) => ({
        about,
        command,
        statuses,
      })),
    };
  }
}
