/**
 * The advice of docs/guides/http.md on `ValidationPipe({ whitelist: true })`, with the packages
 * that the pipe loads.
 */
import 'reflect-metadata';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Body, Controller, Module, Post, ValidationPipe, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  InjectStore,
  KeyValueStorageModule,
  KeyValueStore,
  MemoryProvider,
  State,
  stateOf,
  StorageExceptionFilter,
  Store,
  type Data,
  type InputOf,
} from '@kvent/key-value-storage';
import { z } from 'zod';
import { ScratchApp } from './scratch-app.js';

class Product extends stateOf(
  'product',
  z.object({ title: z.string().min(1), tags: z.array(z.string()).default([]) }),
) {}

@State('note')
class Note {
  text!: string;
}
@State('allowed')
class Allowed {
  text!: string;
}

@Controller()
class PostsController {
  constructor(
    @InjectStore(Product) private readonly products: Store<typeof Product>,
    @InjectStore(Note) private readonly notes: KeyValueStore<Note>,
    @InjectStore(Allowed) private readonly allowed: KeyValueStore<Allowed>,
  ) {}

  @Post('class') async postClass(@Body() body: Product) {
    return (await this.products.set('k', body)).value;
  }
  @Post('input') async postInput(@Body() body: InputOf<typeof Product>) {
    return (await this.products.set('k', body)).value;
  }
  @Post('note') async postNote(@Body() body: Note) {
    return (await this.notes.set('k', body)).value;
  }
  @Post('data') async postData(@Body() body: Data<Note>) {
    return (await this.notes.set('k', body)).value;
  }
  @Post('allowed') async postAllowed(@Body() body: Allowed) {
    return (await this.allowed.set('k', body)).value;
  }
}

@Module({
  imports: [
    KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() }),
    KeyValueStorageModule.forFeature([Product, Note, Allowed]),
  ],
  controllers: [PostsController],
})
class AppModule {}

type ValidatorPackage = NonNullable<ConstructorParameters<typeof ValidationPipe>[0]>['validatorPackage'];
type TransformerPackage = NonNullable<ConstructorParameters<typeof ValidationPipe>[0]>['transformerPackage'];

let packages: ScratchApp;
let app: INestApplication;
beforeAll(async () => {
  packages = await ScratchApp.install(['class-validator@0.15.1', 'class-transformer@0.5.1']);
  const load = createRequire(join(packages.folder, 'package.json'));
  const validatorPackage = load('class-validator') as NonNullable<ValidatorPackage> & {
    readonly Allow: () => PropertyDecorator;
  };
  const transformerPackage = load('class-transformer') as NonNullable<TransformerPackage>;
  validatorPackage.Allow()(Allowed.prototype, 'text');
  app = await NestFactory.create(AppModule, { logger: false });
  app.useGlobalPipes(new ValidationPipe({ whitelist: true, validatorPackage, transformerPackage }));
  app.useGlobalFilters(new StorageExceptionFilter());
  await app.listen(0);
}, 600_000);
afterAll(async () => {
  await app.close();
  await packages[Symbol.asyncDispose]();
});

async function post(path: string, body: object): Promise<unknown> {
  const response = await fetch(`${await app.getUrl()}/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Connection: 'close' },
    body: JSON.stringify(body),
  });
  const json = (await response.json()) as object;
  return response.status === 201 ? json : { status: response.status, ...json };
}

it('empties a body whose type is the class of a state', async () => {
  expect(await post('class', { title: 'Mug' })).toMatchObject({ status: 422, code: 'INVALID_VALUE' });
  expect(await post('note', { text: 'hello' })).toEqual({});
});

it('leaves a body alone whose type is no class: the schema of the state checks it', async () => {
  expect(await post('input', { title: 'Mug', more: 1 })).toEqual({ title: 'Mug', tags: [] });
  expect(await post('input', { title: '' })).toMatchObject({ status: 422, code: 'INVALID_VALUE' });
  expect(await post('data', { text: 'hello' })).toEqual({ text: 'hello' });
});

it('keeps the properties of a class that class-validator allows', async () => {
  expect(await post('allowed', { text: 'hello', more: 1 })).toEqual({ text: 'hello' });
});
