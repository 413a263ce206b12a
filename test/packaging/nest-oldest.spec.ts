/**
 * The oldest Nest of the peer range. Before 11.2 it makes the providers of every module again that
 * a lazily loaded module reaches.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { packLibrary } from './pack-library.js';
import { root, ScratchApp } from './scratch-app.js';

const program = `
import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { LazyModuleLoader, NestFactory } from '@nestjs/core';
import { CqrsModule, EventBus } from '@nestjs/cqrs';
import { defineState, getStoreToken, KeyValueStorage, KeyValueStorageModule, MemoryProvider, TenantContext } from '@kvent/key-value-storage';
import { defineStream, event, EventBusBridgeModule, EventStore, EventStoreModule, getStreamToken } from '@kvent/event-store';

const Notes = defineState('note');
const Doors = defineStream('door', { events: { opened: event() }, initial: () => 0, evolve: (times) => times + 1 });
const moduleOf = (metadata) => { class Some {} Module(metadata)(Some); return Some; };

let [made, closed] = [0, 0];
class Counted extends MemoryProvider {
  constructor() { super(); made += 1; }
  async close() { closed += 1; await super.close(); }
}
const Storage = moduleOf({
  imports: [
    KeyValueStorageModule.forRoot({ provider: () => new Counted(), tenancy: { isKnown: () => true } }),
    EventStoreModule.forRoot({ metadata: () => ({ correlationId: 'root' }) }),
  ],
});
const features = () => [Storage, KeyValueStorageModule.forFeature([Notes]), EventStoreModule.forFeature([Doors])];
const bridge = EventBusBridgeModule.forFeature(Doors, { opened: ({ stream, metadata }) => ({ stream, from: metadata.correlationId }) });
const app = await NestFactory.createApplicationContext(
  moduleOf({ imports: [...features(), CqrsModule.forRoot(), bridge] }),
  { logger: false, abortOnError: false },
);
const published = [];
app.get(EventBus, { strict: false }).subscribe((each) => published.push(each));
const partsOf = (modules) => [KeyValueStorage, TenantContext, EventStore].map((token) => modules.get(token, { strict: false }));
const before = partsOf(app);
await app.get(TenantContext).run('acme', () => app.get(getStoreToken(Notes), { strict: false }).set('n', 1));

const loader = app.get(LazyModuleLoader);
const loads = [];
for (const name of ['one', 'two']) {
  const lazy = await loader.load(() => moduleOf({ imports: [...features(), bridge] }));
  const context = lazy.get(TenantContext, { strict: false });
  loads.push(await context.run('acme', async () => {
    const { value } = await lazy.get(getStoreToken(Notes), { strict: false }).getOrThrow('n');
    await lazy.get(getStreamToken(Doors), { strict: false }).append(name, [{ type: 'opened' }], { expectedVersion: 'absent' });
    return { value, same: partsOf(lazy).every((part, index) => part === before[index]) };
  }));
}
await loader.load(() => moduleOf({ imports: [KeyValueStorageModule.forRoot({ provider: () => new Counted() })] })).catch(({ code }) => loads.push(code));
await app.close();
process.stdout.write(JSON.stringify({ made, closed, loads, published }));
`;

const oldest = async (): Promise<string> => {
  const manifest = JSON.parse(await readFile(join(root, 'libs/key-value-storage/package.json'), 'utf8')) as {
    readonly peerDependencies: Readonly<Record<string, string>>;
  };
  return /^\^(\d+\.\d+\.\d+) /.exec(manifest.peerDependencies['@nestjs/core'] ?? '')?.[1] ?? 'not found';
};

it('one storage and one event store serve an application, also its lazily loaded modules', async () => {
  const [version, ...packed] = await Promise.all([
    oldest(),
    packLibrary('key-value-storage'),
    packLibrary('event-store'),
  ]);
  const nest = ['common', 'core', 'cqrs'].map((name) => `@nestjs/${name}@${version}`);
  await using app = await ScratchApp.install([
    ...nest,
    'reflect-metadata@0.2.2',
    'rxjs@7.8.2',
    ...packed.map(({ tarball }) => tarball),
  ]);
  await app.write('program.mjs', program);
  const { stdout } = await app.run('.', ['--disable-warning=ExperimentalWarning', 'program.mjs']);
  const load = { value: 1, same: true };
  expect(JSON.parse(stdout)).toEqual({
    made: 1,
    closed: 1,
    loads: [load, load, 'INVALID_OPTION'],
    published: ['one', 'two'].map((stream) => ({ stream, from: 'root' })),
  });
}, 600_000);
