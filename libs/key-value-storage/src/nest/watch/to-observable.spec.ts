import { setImmediate } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Injectable, Logger, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { expect, jest, test } from '@jest/globals';
import type { Subscription } from 'rxjs';
import { storageError } from '../../core/base/errors.js';
import type { Entry } from '../../core/store/entry.js';
import { KeyValueStore } from '../../core/store/key-value-store.js';
import { State } from '../../core/store/state-definition.js';
import { MemoryProvider } from '../../providers/memory/memory-provider.js';
import { InjectStore } from '../inject-store.decorator.js';
import { KeyValueStorageModule } from '../key-value-storage.module.js';
import { TenantContext } from '../tenancy/tenant-context.js';
import { toObservable } from './to-observable.js';

@State('price')
class Price {
  cents!: number;
}

@Injectable()
class Prices {
  constructor(@InjectStore(Price) readonly store: KeyValueStore<Price>) {}
}

async function openApplication() {
  @Module({
    imports: [
      KeyValueStorageModule.forRoot({ provider: new MemoryProvider(), tenancy: {}, sweepEveryMs: 'never' }),
      KeyValueStorageModule.forFeature([Price]),
    ],
    providers: [Prices],
  })
  class ShopModule {}
  const application = await Test.createTestingModule({ imports: [ShopModule] }).compile();
  await application.init();
  return { application, prices: application.get(Prices).store, tenants: application.get(TenantContext) };
}

/** What a subscription has received. */
function subscribe(watch: AsyncIterable<Entry<Price> | undefined>) {
  const received: (number | undefined | 'complete')[] = [];
  const errors: unknown[] = [];
  const subscription: Subscription = toObservable(watch).subscribe({
    next: (entry) => received.push(entry?.value.cents),
    error: (error: unknown) => errors.push(error),
    complete: () => received.push('complete'),
  });
  return { received, errors, subscription };
}

async function settle(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await setImmediate();
}

test('a watch as an observable is of the tenant in which it was made, and completes when the application closes', async () => {
  const { application, prices, tenants } = await openApplication();
  const watch = tenants.run('acme', () => prices.watch('mug'));
  const { received, errors } = subscribe(watch);
  await settle();
  await tenants.run('globex', async () => await prices.set('mug', { cents: 1 }));
  await tenants.run('acme', async () => await prices.set('mug', { cents: 2 }));
  await settle();
  expect(received).toEqual([undefined, 2]);
  await application.close();
  expect([received, errors]).toEqual([[undefined, 2, 'complete'], []]);
});

test('to unsubscribe ends a quiet watch at once', async () => {
  const { application, prices } = await openApplication();
  const controller = new AbortController();
  const watch = prices.forTenant('acme').watch('mug', { signal: controller.signal });
  let returned = false;
  const counted: typeof watch = {
    [Symbol.asyncIterator]: () => {
      const items = watch[Symbol.asyncIterator]();
      return {
        next: () => items.next(),
        return: async () => {
          const end = await items.return?.();
          returned = true;
          return end ?? { done: true, value: undefined };
        },
      };
    },
  };
  const { subscription, received } = subscribe(counted);
  await settle();
  subscription.unsubscribe();
  await settle();
  expect([returned, received]).toEqual([true, [undefined]]);
  await application.close();
});

test('the error of a watch is the error of the observable', async () => {
  const { application, prices } = await openApplication();
  const { errors } = subscribe(prices.forTenant('acme').watch('mug', { signal: AbortSignal.abort() }));
  await settle();
  expect(errors).toMatchObject([{ code: 'ABORTED' }]);
  await application.close();
});

test('an error from 500 on has its code and title alone, for clients of @Sse(), and is logged', async () => {
  const logged = jest.spyOn(Logger.prototype, 'error').mockReturnValue(undefined);
  const place = '/var/data/acme.json';
  const failing = async function* (error: Error) {
    yield undefined;
    throw error;
  };
  const damaged = storageError(
    'STORAGE_CORRUPT',
    `${place} is damaged`,
    { place },
    { cause: new Error(place) },
  );
  const missing = storageError('KEY_NOT_FOUND', 'There is no price "mug".', { key: 'mug' });
  const own = new Error('of the application');
  const received = [damaged, missing, own].map((error) => subscribe(failing(error)));
  await settle();
  const [first, ...others] = received.map(({ errors }) => errors);
  expect(first).toMatchObject([{ code: 'STORAGE_CORRUPT', status: 500, message: 'Damaged data' }]);
  expect(inspect(first, { showHidden: true, depth: null })).not.toContain(place);
  expect(others).toEqual([[missing], [own]]);
  expect(logged.mock.calls).toEqual([[expect.stringContaining(place), damaged.stack]]);
  logged.mockRestore();
});
