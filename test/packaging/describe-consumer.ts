/**
 * What is asked of the packed library in an application of its users, on one version of Nest: as ES
 * modules and as CommonJS, compiled with the types of all packages checked, without any of the
 * optional peers, and then run.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { describeGeneratedApp } from './describe-generated-app.js';
import { packLibrary } from './pack-library.js';
import { ScratchApp } from './scratch-app.js';

const both = ['reflect-metadata@0.2.2', 'rxjs@7.8.2', '@types/node@20.19.43'];
const nest = {
  12: [
    '@nestjs/common@12.5.1',
    '@nestjs/core@12.5.1',
    '@nestjs/platform-express@12.5.1',
    '@nestjs/swagger@12.0.2',
    ...both,
  ],
  11: [
    '@nestjs/common@11.2.10',
    '@nestjs/core@11.2.10',
    '@nestjs/platform-express@11.2.10',
    '@nestjs/swagger@11.0.0',
    ...both,
  ],
} as const;

const expected = {
  price: 30,
  isProduct: true,
  again: true,
  body: { title: 'Mug', price: 30 },
  tagged: true,
  answers: [200, 412, 404],
};

const expectedOfStreams = {
  state: { onHand: 5, reserved: 5 },
  refused: 'There are not 1 of mug left.',
  versions: [1, 2, 3, 4, 5, 6],
  locked: 'STREAM_LOCKED',
  withoutCqrs: true,
  broken: 'there is no disk',
};

const swaggerProgram = `
import 'reflect-metadata';
import { Controller, Module, Put, UseInterceptors } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { describeHttp, EtagInterceptor, IfMatch, KeyValueStorageModule, MemoryProvider } from '@kvent/key-value-storage';

class Notes { put() {} }
IfMatch({ create: true })(Notes.prototype, 'put', 0);
Reflect.defineMetadata('design:paramtypes', [Object], Notes.prototype, 'put');
Put(':id')(Notes.prototype, 'put', Object.getOwnPropertyDescriptor(Notes.prototype, 'put'));
UseInterceptors(EtagInterceptor)(Notes);
Controller('notes')(Notes);
class AppModule {}
Module({
  imports: [KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() })],
  controllers: [Notes],
})(AppModule);
const app = await NestFactory.create(AppModule, { logger: false });
await app.init();
describeHttp(app);
const { paths } = SwaggerModule.createDocument(app, new DocumentBuilder().build());
await app.close();
const { parameters, responses } = paths['/notes/{id}'].put;
const contents = Object.entries(responses).map(([status, { headers = {}, content = {} }]) => [
  status, [...Object.keys(headers), ...Object.keys(content)],
]);
process.stdout.write(JSON.stringify({
  parameters: parameters.filter((each) => each.in === 'header').map(({ name }) => name),
  responses: Object.fromEntries(contents),
}));
`;

export function describeConsumer(version: keyof typeof nest): void {
  describe(`with Nest ${version}`, () => {
    let app: ScratchApp;

    beforeAll(async () => {
      const packed = await Promise.all([packLibrary('key-value-storage'), packLibrary('event-store')]);
      app = await ScratchApp.install([...nest[version], ...packed.map(({ tarball }) => tarball)]);
    }, 600_000);

    afterAll(async () => {
      await app[Symbol.asyncDispose]();
    });

    it.each(['module', 'commonjs'] as const)(
      'the programs of the READMEs compile and run (type: %s)',
      async (type) => {
        await app.writeProgram(type, type, 'main.ts');
        await app.writeProgram(type, type, 'streams.ts', 'libs/event-store/README.md', 'warehouse');
        await app.compile(type);
        for (const [program, answer] of [
          ['main', expected],
          ['streams', expectedOfStreams],
        ] as const) {
          const { stdout, stderr } = await app.run(type, [
            '--disable-warning=ExperimentalWarning',
            `dist/${program}.js`,
          ]);
          expect(JSON.parse(stdout)).toEqual(answer);
          expect(stderr).toBe('');
        }
      },
    );

    it('runs when SWC compiles it to CommonJS, one file at a time', async () => {
      await app.writeProgram('swc', 'commonjs', 'main.ts');
      await app.compileWithSwc('swc', ['main.ts', 'program.ts']);
      const { stdout } = await app.run('swc', ['--disable-warning=ExperimentalWarning', 'dist/main.js']);
      expect(JSON.parse(stdout)).toEqual(expected);
    });

    it('describes its parts for the oldest and the newest Swagger of this Nest', async () => {
      const { stdout } = await app.run('.', ['--input-type=module', '--eval', swaggerProgram]);
      expect(JSON.parse(stdout)).toEqual({
        parameters: ['If-Match', 'If-None-Match'],
        responses: {
          200: ['ETag'],
          201: ['ETag'],
          400: ['application/problem+json'],
          412: ['application/problem+json'],
          428: ['application/problem+json'],
        },
      });
    });

    it('loads the kits for tests too, without the peers that are optional', async () => {
      const script = `
      import { overrideStorage, clauses } from '@kvent/key-value-storage/testing';
      process.stdout.write(typeof overrideStorage + ' ' + (clauses.length > 0));`;
      const { stdout } = await app.run('.', ['--input-type=module', '--eval', script]);
      expect(stdout).toBe('function true');
      const streams = `
      import { given, overrideEventStore, streamClauses } from '@kvent/event-store/testing';
      process.stdout.write(typeof given + ' ' + typeof overrideEventStore + ' ' + (streamClauses.length > 0));`;
      expect((await app.run('.', ['--input-type=module', '--eval', streams])).stdout).toBe(
        'function function true',
      );
      await expect(
        app.run('.', ['--input-type=module', '--eval', "await import('@nestjs/testing')"]),
      ).rejects.toThrow('ERR_MODULE_NOT_FOUND');
    });

    // the last one, because it installs further packages
    describeGeneratedApp(version, () => app);
  });
}
