import 'reflect-metadata';
import { Controller, Get, Res, UseInterceptors, type INestApplication } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import type { App } from 'supertest/types.js';
import { KeyValueStore } from '../../core/store/key-value-store.js';
import { State } from '../../core/store/state-definition.js';
import { InjectStore } from '../inject-store.decorator.js';
import { EtagInterceptor } from './etag.interceptor.js';
import { Paged, type PagedRequest } from './paged.decorator.js';
import { httpAdapters, startWith, type Received } from './spec-support.js';

@State('note')
class Note {
  text!: string;
}

@Controller('notes')
@UseInterceptors(EtagInterceptor)
class Notes {
  constructor(@InjectStore(Note) private readonly notes: KeyValueStore<Note>) {}
  @Get() list(@Paged() page: PagedRequest) {
    return this.notes.page(page);
  }
  @Get('few') few(@Paged({ limitMax: 2 }) page: PagedRequest) {
    return this.notes.page({ limit: 2, ...page });
  }
  @Get('linked') linked(
    @Paged() page: PagedRequest,
    @Res({ passthrough: true }) response: { header(name: string, value: string): unknown },
  ) {
    response.header('Link', '</help>; rel="help"');
    return this.notes.page(page);
  }
}

/** Its result has more fields than a page. */
@Controller('counted')
class CountedNotes {
  constructor(@InjectStore(Note) private readonly notes: KeyValueStore<Note>) {}
  @Get() async list(@Paged() page: PagedRequest) {
    return { ...(await this.notes.page(page)), total: await this.notes.count() };
  }
  @Get('mapped') async mapped(@Paged() page: PagedRequest) {
    const { items, ...rest } = await this.notes.page(page);
    return { ...rest, items: items.map(({ key, value }) => ({ key, ...value })), total: 5 };
  }
  @Get('serialized') async serialized(@Paged() page: PagedRequest) {
    return Object.assign(new NotesPage(), await this.notes.page(page));
  }
}
/** Its class chooses what is sent. */
class NotesPage {
  readonly secret = 'not sent';
  toJSON(): object {
    const { secret: _, ...sent } = { ...this, total: 5 };
    return sent;
  }
}

describe.each(httpAdapters)('@Paged() on %s', (adapter) => {
  let app: INestApplication<App>;
  beforeAll(async () => {
    app = await startWith(adapter, Note, Notes, CountedNotes);
    const notes = app.get(Notes)['notes'];
    await notes.setMany(['a', 'b', 'c', 'd', 'e'].map((text) => ({ key: text, value: { text } })));
  });
  afterAll(() => app.close());
  const get = async (path: string): Promise<Received> => await request(app.getHttpServer()).get(path);
  const linkIn = ({ headers }: Received, relation: 'next' | 'prev' = 'next'): string | undefined =>
    new RegExp(`<([^>]*)>; rel="${relation}"`).exec(headers['link'] ?? '')?.[1];

  /** Follows the links, which are resolved as a client does. */
  async function follow(first: string, relation: 'next' | 'prev' = 'next'): Promise<string[]> {
    const pages: string[] = [];
    for (let url: URL | undefined = new URL(first, 'http://shop'); url !== undefined;) {
      const answer = await get(url.pathname + url.search);
      const { items, next, previous } = answer.body as { items: Note[]; next?: string; previous?: string };
      pages.push(items.map(({ text }) => text).join(''));
      expect(linkIn(answer) === undefined).toBe(next === undefined);
      expect(linkIn(answer, 'prev') === undefined).toBe(previous === undefined);
      const link = linkIn(answer, relation);
      url = link === undefined ? undefined : new URL(link, url);
    }
    return pages;
  }

  it('sends the values of a page, and Link while there is a next one', async () => {
    expect(await follow('/notes?limit=2')).toEqual(['ab', 'cd', 'e']);
    expect(await follow('/notes?limit=3&order=desc')).toEqual(['edc', 'ba']);
    expect((await get('/notes')).body).toEqual({ items: [...'abcde'].map((text) => ({ text })) });
    expect((await get('/notes')).headers['link']).toBeUndefined();
  });

  it('sends Link to the previous page while there is one', async () => {
    const second = linkIn(await get('/notes?limit=2')) as string;
    const third = linkIn(await get(`/notes${second}`)) as string;
    expect(await follow(`/notes${third}`, 'prev')).toEqual(['e', 'cd', 'ab']);
  });

  it('keeps the other parameters of the query in a relative reference, which no proxy makes wrong', async () => {
    const answer = await get('/notes?tag=a%26b&limit=2&tag=%22%3E');
    const { next } = answer.body as { next: string };
    expect(linkIn(answer)).toBe(`?tag=a%26b&limit=2&tag=%22%3E&cursor=${encodeURIComponent(next)}`);
    const again = linkIn(await get(`/notes?limit=2&cursor=${encodeURIComponent(next)}`));
    expect(new URL(again as string, 'http://shop').searchParams.getAll('cursor')).toHaveLength(1);
  });

  it.each(['', '/mapped', '/serialized'])('keeps the other fields of a result (%s)', async (path) => {
    const answer = await get(`/counted${path}?limit=1`);
    const item = path === '/mapped' ? { key: 'a', text: 'a' } : { text: 'a' };
    expect(answer.body).toEqual({ items: [item], next: expect.any(String), total: 5 });
    expect(linkIn(answer)).toMatch(/^\?limit=1&cursor=/);
  });

  it('adds to a Link of the handler', async () => {
    expect((await get('/notes/linked?limit=1')).headers['link']).toMatch(/^<\/help>; rel="help", <\?limit=1/);
  });

  it.each([
    ['limit=0', 400, 'OUT_OF_RANGE'],
    ['limit=', 400, 'OUT_OF_RANGE'],
    ['limit=1.5', 400, 'OUT_OF_RANGE'],
    ['limit=two', 400, 'OUT_OF_RANGE'],
    ['limit=1&limit=2', 400, 'OUT_OF_RANGE'],
    ['limit=1001', 413, 'LIMIT_EXCEEDED'],
    ['order=up', 400, 'OUT_OF_RANGE'],
    ['order=asc&order=asc', 400, 'OUT_OF_RANGE'],
    ['cursor=', 400, 'INVALID_CURSOR'],
    ['cursor=nonsense', 400, 'INVALID_CURSOR'],
    ['cursor=a&cursor=b', 400, 'INVALID_CURSOR'],
  ])('refuses %s', async (query, status, code) => {
    expect(await get(`/notes?${query}`)).toMatchObject({ status, body: { code } });
  });

  it('has a largest limit for each route', async () => {
    expect((await get('/notes/few?limit=2')).status).toBe(200);
    expect(await get('/notes/few?limit=3')).toMatchObject({ status: 400, body: { code: 'OUT_OF_RANGE' } });
    for (const limitMax of [0, 1.5, 1_001])
      expect(() => Paged({ limitMax })).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});
