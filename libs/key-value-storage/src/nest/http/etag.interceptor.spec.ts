import 'reflect-metadata';
import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Param,
  Post,
  Put,
  UseInterceptors,
  type ExecutionContext,
  type INestApplication,
} from '@nestjs/common';
import { request as send, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { lastValueFrom, of } from 'rxjs';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { representation } from '../../core/store/entry.js';
import { Precondition } from '../../core/store/etag.js';
import { KeyValueStorage, KeyValueStore } from '../../core/store/key-value-store.js';
import { defineState, State } from '../../core/store/state-definition.js';
import { InjectStore } from '../inject-store.decorator.js';
import { EtagInterceptor } from './etag.interceptor.js';
import { IfMatch } from './if-match.decorator.js';
import { httpAdapters, startWith, type Received } from './spec-support.js';

@State('note')
class Note {
  text!: string;
}

@Controller('notes')
@UseInterceptors(EtagInterceptor)
class Notes {
  constructor(@InjectStore(Note) private readonly notes: KeyValueStore<Note>) {}
  @Get() async list() {
    return await this.notes.page({});
  }
  @Get(':id') get(@Param('id') id: string) {
    return this.notes.getOrThrow(id);
  }
  @Get(':id/with-code') @HttpCode(203) coded(@Param('id') id: string) {
    return this.notes.getOrThrow(id);
  }
  @Post(':id') add(@Param('id') id: string, @Body() note: Note) {
    return this.notes.add(id, note);
  }
  @Put(':id') put(@Param('id') id: string, @IfMatch() ifMatch: Precondition, @Body() note: Note) {
    return this.notes.set(id, note, { ifMatch });
  }
  @Put(':id/created') putCreated(
    @Param('id') id: string,
    @IfMatch({ create: true }) ifMatch: Precondition,
    @Body() note: Note,
  ) {
    return this.notes.set(id, note, { ifMatch });
  }
  @Delete(':id/created') @HttpCode(204) async removeCreated(
    @Param('id') id: string,
    @IfMatch({ create: true }) ifMatch: Precondition,
  ) {
    await this.notes.delete(id, { ifMatch });
  }
  @Put(':id/perhaps') putPerhaps(
    @Param('id') id: string,
    @IfMatch({ required: false }) ifMatch: Precondition,
    @Body() note: Note,
  ) {
    return this.notes.set(id, note, { ifMatch });
  }
  @Delete(':id') @HttpCode(204) async remove(@Param('id') id: string, @IfMatch() ifMatch: Precondition) {
    await this.notes.delete(id, { ifMatch });
  }
}

describe.each(httpAdapters)('on %s', (adapter) => {
  let app: INestApplication<App>;
  let etag: string;
  beforeAll(async () => {
    app = await startWith(adapter, Note, Notes);
    const added = await request(app.getHttpServer())
      .post('/notes/a')
      .send({ text: 'one' })
      .expect(201, { text: 'one' });
    etag = added.headers['etag'] as string;
  });
  afterAll(() => app.close());
  const http = () => request(app.getHttpServer());

  describe('A handler that answers an entry', () => {
    it('sends its value, with the etag in quotes and no Last-Modified', async () => {
      const { headers } = await http().get('/notes/a').expect(200, { text: 'one' });
      expect(headers['etag']).toBe(etag);
      expect(etag).toMatch(/^"[^"]+"$/);
      expect(headers['last-modified']).toBeUndefined();
    });

    it.each([
      ['itself', () => etag],
      ['weak', () => `W/${etag}`],
      ['in a list', () => `"other, with a comma", W/${etag} ,"more"`],
      ['anything', () => '*'],
    ])('answers 304 without a body to If-None-Match: %s', async (_, given) => {
      const { text, headers } = await http().get('/notes/a').set('If-None-Match', given()).expect(304);
      expect(text).toBe('');
      expect(headers['etag']).toBe(etag);
      await http().get('/notes/a/with-code').set('If-None-Match', given()).expect(304);
    });

    it.each([['another'], ['part'], ['no quotes']])('sends the value to If-None-Match: %s', async (which) => {
      const given =
        which === 'another' ? '"other"' : which === 'part' ? `"${etag.slice(1, -2)}"` : etag.slice(1, -1);
      await http().get('/notes/a').set('If-None-Match', given).expect(200);
    });

    it('answers 304 by itself where the framework does not compare (Fastify), and to reads alone', async () => {
      const answered = async (method: string): Promise<unknown> => {
        const sent: unknown[] = [];
        const reply = {
          raw: {},
          send: () => undefined,
          status: (code: number) => sent.push(code),
          header: (...given: unknown[]) => sent.push(given),
        };
        const http = {
          getRequest: () => ({ method, headers: { 'if-none-match': 'W/"7"' } }),
          getResponse: () => reply,
        };
        const context = { getType: () => 'http', switchToHttp: () => http } as unknown as ExecutionContext;
        const entry = { [representation]: { body: 'value', etag: '7' } };
        sent.push(await lastValueFrom(new EtagInterceptor().intercept(context, { handle: () => of(entry) })));
        return sent;
      };
      expect(await answered('GET')).toEqual([['ETag', '"7"'], 304, undefined]);
      expect(await answered('POST')).toEqual([['ETag', '"7"'], 'value']);
    });

    it('leaves other answers as they are, entries within them too', async () => {
      const { headers, body } = (await http().get('/notes').expect(200)) as Received;
      expect(headers['etag']).toBeUndefined();
      expect(body).toMatchObject({ items: [{ key: 'a', value: { text: 'one' } }] });
    });
  });

  describe('@IfMatch()', () => {
    it('writes what the client saw, and answers the new etag', async () => {
      await http().post('/notes/b').send({ text: 'one' });
      const before = (await http().get('/notes/b')).headers['etag'] as string;
      const after = (await http().put('/notes/b').set('If-Match', before).send({ text: 'two' }).expect(200))
        .headers['etag'];
      expect(after).not.toBe(before);
      const { body } = (await http()
        .put('/notes/b')
        .set('If-Match', before)
        .send({ text: 'three' })
        .expect(412)) as Received;
      expect(body).toMatchObject({ code: 'STORAGE_CONFLICT' });
      await http().delete('/notes/b').set('If-Match', '*').expect(204);
      await http().put('/notes/b').set('If-Match', before).send({ text: 'three' }).expect(412);
      await http().put('/notes/b').set('If-Match', '*').send({ text: 'three' }).expect(412);
    });

    it.each([
      ['missing', undefined, 428, 'PRECONDITION_REQUIRED'],
      ['blank', ' ', 428, 'PRECONDITION_REQUIRED'],
      ['a list of others', '"1", "2"', 412, 'STORAGE_CONFLICT'],
      ['a list without blanks', '"1","2"', 412, 'STORAGE_CONFLICT'],
      ['weak', 'W/"1"', 412, 'STORAGE_CONFLICT'],
      ['empty', '""', 412, 'STORAGE_CONFLICT'],
      ['no etag of ours', '"hello"', 412, 'STORAGE_CONFLICT'],
      ['a * in quotes, which is an etag and no wildcard', '"*"', 412, 'STORAGE_CONFLICT'],
      ['without quotes', '1', 400, 'INVALID_ETAG'],
      ['half in quotes', '"1', 400, 'INVALID_ETAG'],
      ['a list with something else in it', '"1", *', 400, 'INVALID_ETAG'],
      ['nothing but commas', ', ,', 400, 'INVALID_ETAG'],
    ])('refuses a header that is %s', async (_, given, status, code) => {
      const call = http().put('/notes/a').send({ text: 'two' });
      const { body } = (await (given === undefined ? call : call.set('If-Match', given)).expect(
        status,
      )) as Received;
      expect(body).toMatchObject({ code });
      await http().get('/notes/a').expect(200, { text: 'one' });
    });

    it('looks through a list; weak ones and those of other rows match nothing (RFC 9110)', async () => {
      const read = async (path: string) => (await http().get(path)).headers['etag'] as string;
      const write = (given: string) =>
        http().put('/notes/listed').set('If-Match', given).send({ text: 'more' });
      await http().post('/notes/listed').send({ text: 'one' }).expect(201);
      const own = await read('/notes/listed');
      for (const given of [`W/${own}`, `${own.slice(0, -1)}-gzip"`, etag, `${etag}, W/${own}, "x"`])
        await write(given).expect(412);
      await write(`"x", ${etag} ,,W/"y", ${own}`).expect(200);
      await write(`"x", ${own}`).expect(412);
      await write(`${await read('/notes/listed')}, "1", "2"`).expect(200);
      await write(`"7", ${await read('/notes/listed')}, ${own}`).expect(200);
    });

    it('takes rows of one batch apart, whose versions are equal', async () => {
      await app
        .get(KeyValueStorage)
        .store(Note)
        .setMany(['d', 'e'].map((key) => ({ key, value: { text: key } })));
      const [first, second] = await Promise.all(
        ['d', 'e'].map(async (key) => (await http().get(`/notes/${key}`)).headers['etag'] as string),
      );
      expect(second).not.toBe(first);
      await http()
        .get('/notes/e')
        .set('If-None-Match', first as string)
        .expect(200);
      await http()
        .put('/notes/e')
        .set('If-Match', first as string)
        .send({ text: 'x' })
        .expect(412);
      await http()
        .put('/notes/e')
        .set('If-Match', second as string)
        .send({ text: 'x' })
        .expect(200);
    });

    it('takes two schema versions apart for reads, and one version for writes', async () => {
      const [one, two] = [1, 2].map((schemaVersion) =>
        defineState<{ text: string }>('note', {
          schemaVersion,
          ...(schemaVersion > 1 && { upcast: { 1: (value: unknown) => value } }),
        }),
      );
      const storage = app.get(KeyValueStorage);
      const before = await storage.store(one as NonNullable<typeof one>).set('deployed', { text: 'one' });
      const after = await storage.store(two as NonNullable<typeof two>).getOrThrow('deployed');
      expect(after.etag).toBe(before.etag);
      const [old, young] = [before[representation].etag, after[representation].etag];
      expect(young).not.toBe(old);
      // what a client got before the deploy is the same version of the row
      const written = await storage
        .store(two as NonNullable<typeof two>)
        .set('deployed', { text: 'two' }, { ifMatch: old });
      await storage.store(two as NonNullable<typeof two>).save(written.with({ text: 'three' }));
    });

    it('may be left out where that is said, but not blank', async () => {
      await http().put('/notes/c/perhaps').send({ text: 'one' }).expect(200);
      await http().put('/notes/c/perhaps').set('If-Match', '"1"').send({ text: 'two' }).expect(412);
      await http().put('/notes/c/perhaps').set('If-Match', ' ').send({ text: 'two' }).expect(428);
      await http().get('/notes/c').expect(200, { text: 'one' });
    });
  });

  /** Sends header lines as they are; supertest and fetch join lines of one name. */
  const putLines = async (path: string, lines: readonly string[]) => {
    const { port } = (app.getHttpServer() as Server).address() as AddressInfo;
    const body = '{"text":"by lines"}';
    const head = [
      'Content-Type',
      'application/json',
      'Content-Length',
      String(body.length),
      'Connection',
      'close',
    ];
    return await new Promise<number | undefined>((resolve, reject) => {
      const options = { port, path, method: 'PUT', headers: ['Host', 'localhost', ...head, ...lines] };
      send(options, (response) => response.resume().on('end', () => resolve(response.statusCode)))
        .on('error', reject)
        .end(body);
    });
  };

  describe('@IfMatch({ create: true })', () => {
    const create = (id: string, text = 'one') =>
      http().put(`/notes/${id}/created`).set('If-None-Match', '*').send({ text });

    it('creates with If-None-Match: *, and sends 201 with the ETag; 412 if it exists', async () => {
      const { headers } = await create('new').expect(201, { text: 'one' });
      expect(headers['etag']).toBe((await http().get('/notes/new')).headers['etag']);
      const { body } = (await create('new', 'two').expect(412)) as Received;
      expect(body).toMatchObject({ code: 'STORAGE_CONFLICT', expected: 'absent' });
      await http().get('/notes/new').expect(200, { text: 'one' });
      await http().delete('/notes/new/created').set('If-None-Match', '*').expect(412);
      await http().delete('/notes/new/created').set('If-Match', '*').expect(204);
      await create('new', 'three').expect(201);
    });

    it('creates once for many concurrent requests', async () => {
      const answers = await Promise.all(
        Array.from({ length: 8 }, async (_, n) => await create('once', `${n}`)),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array<number>(7).fill(412)]);
    });

    it('still replaces with If-Match, with 200', async () => {
      const put = (ifMatch: string) =>
        http().put('/notes/kept/created').set('If-Match', ifMatch).send({ text: 'two' });
      await put('"1"').expect(412);
      const { headers } = await create('kept');
      await put(headers['etag'] as string).expect(200, { text: 'two' });
    });

    it.each([
      ['neither header', {}, 428, 'PRECONDITION_REQUIRED'],
      ['If-None-Match with an ETag', { 'If-None-Match': '"1"' }, 400, 'INVALID_ETAG'],
      ['a blank If-None-Match', { 'If-None-Match': ' ' }, 400, 'INVALID_ETAG'],
      ['a * within a list', { 'If-None-Match': '*, "1"' }, 400, 'INVALID_ETAG'],
      [
        'both headers, which no row can meet',
        { 'If-None-Match': '*', 'If-Match': '*' },
        412,
        'STORAGE_CONFLICT',
      ],
      ['both, one of them malformed', { 'If-None-Match': '*', 'If-Match': '1' }, 400, 'INVALID_ETAG'],
    ])('refuses %s', async (_, headers, status, code) => {
      const { body } = (await http()
        .put('/notes/refused/created')
        .set(headers)
        .send({ text: 'two' })
        .expect(status)) as Received;
      expect(body).toMatchObject({ code });
      await http().get('/notes/refused').expect(404);
    });

    it('is needed: other routes do not create with If-None-Match', async () => {
      const both = { 'If-None-Match': '*', 'If-Match': '*' };
      await http().put('/notes/plain').set('If-None-Match', '*').send({ text: 'one' }).expect(428);
      await http().put('/notes/plain').set(both).send({ text: 'one' }).expect(412);
      await http().post('/notes/plain').send({ text: 'one' }).expect(201);
      await http().put('/notes/plain').set(both).send({ text: 'two' }).expect(412);
      await http().get('/notes/plain').expect(200, { text: 'one' });
    });
  });

  describe('If-None-Match of a write whose If-Match is optional', () => {
    const perhaps = (headers: Record<string, string>, text: string) =>
      http().put('/notes/perhaps/perhaps').set(headers).send({ text });

    it('is a check too: * never overwrites', async () => {
      await perhaps({ 'If-None-Match': '*' }, 'one').expect(200);
      await perhaps({ 'If-None-Match': '*' }, 'two').expect(412);
      await perhaps({ 'If-None-Match': '*', 'If-Match': '*' }, 'two').expect(412);
      await perhaps({ 'If-None-Match': '"1"' }, 'two').expect(400);
      await http().get('/notes/perhaps').expect(200, { text: 'one' });
      await perhaps({}, 'two').expect(200);
    });
  });

  // last: it listens
  it('joins several lines of one header (RFC 9110, 5.3)', async () => {
    await app.listen(0, '127.0.0.1');
    const own = (await http().get('/notes/a')).headers['etag'] as string;
    expect(await putLines('/notes/a', ['If-Match', '"x", ,', 'If-Match', 'W/"y"'])).toBe(412);
    expect(await putLines('/notes/a', ['If-Match', '"x,y"', 'If-Match', `, ${own},`])).toBe(200);
    expect(await putLines('/notes/a', ['If-Match', '"x"', 'If-Match', '*'])).toBe(400);
  });
});
