import 'reflect-metadata';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Module } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { defineStream, event, EventStoreModule, streamOf } from '@kvent/event-store';
import {
  defineState,
  getStoreToken,
  KeyValueStorageModule,
  MemoryProvider,
  State,
  storeOf,
} from '@kvent/key-value-storage';
import { getStreamToken } from './inject-stream.decorator.js';

@State('note')
class Note {
  text!: string;
}
const Doors = defineStream('door', {
  events: { opened: event() },
  initial: () => 0,
  evolve: (times) => times + 1,
});
@Module({ imports: [KeyValueStorageModule.forFeature([Note]), EventStoreModule.forFeature([Doors])] })
class InnerModule {}

describe('storeOf and streamOf', () => {
  let app: TestingModule;
  beforeEach(async () => {
    const root = KeyValueStorageModule.forRoot({ provider: () => new MemoryProvider() });
    app = await Test.createTestingModule({ imports: [root, InnerModule] }).compile();
    await app.init();
  });
  afterEach(() => app.close());

  it('give the store and the streams of any module of an application', async () => {
    await storeOf(app, Note).set('n', { text: 'hello' });
    await streamOf(app, Doors).append('front', [{ type: 'opened' }], { expectedVersion: 'absent' });
    expect(storeOf(app, Note)).toBe(app.get(getStoreToken(Note), { strict: false }));
    expect(streamOf(app, Doors)).toBe(app.get(getStreamToken(Doors), { strict: false }));
    expect((await storeOf(app, Note).getOrThrow('n')).value.text).toBe('hello');
    expect((await streamOf(app, Doors).load('front')).state).toBe(1);
  });

  it('name the module that is missing', () => {
    const missing = (message: string) =>
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(message) });
    expect(() => storeOf(app, defineState<number>('other'))).toThrow(
      missing(
        `The application has no state 'other': a module must import KeyValueStorageModule.forFeature([…]) with it.`,
      ),
    );
    const Others = defineStream('other', { events: { a: event() }, initial: () => 0, evolve: () => 1 });
    expect(() => streamOf(app, Others)).toThrow(
      missing(
        `The application has no stream 'other': a module must import EventStoreModule.forFeature([…]) with it.`,
      ),
    );
  });
});
