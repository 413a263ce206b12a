/** `docs/reference` against the code, both ways. */
import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  defineState,
  isStorageError,
  KeyValueStorageModule,
  limits,
  MemoryProvider,
  openStorage,
  RetryOnConflictInterceptor,
} from '@kvent/key-value-storage';
import {
  errorTable as ownErrors,
  type OwnErrorCode,
} from '../../libs/key-value-storage/src/core/base/errors.js';
import { retryDefaults } from '../../libs/key-value-storage/src/core/contention/retry-on-conflict.js';
import { storageError } from '@kvent/key-value-storage/provider';
import { EventStore, EventStoreModule } from '@kvent/event-store';
import { defineStream, event } from '@kvent/event-store/core';
import {
  streamError,
  streamErrorTable,
  type StreamErrorCode,
} from '../../libs/event-store/src/core/definition/stream-errors.js';
import { generatedIn, regenerated, write } from './generated.js';
import { declaredErrorFields, declaredOptions, exportedNames, literalDefaults } from './options-in-source.js';
import { pageAt, pages, type Page } from './pages.js';

/** The codes of all packages. */
const errorTable = [...ownErrors, ...streamErrorTable];

const errors = pageAt('docs/reference/errors.md');
const options = pageAt('docs/reference/options.md');
const http = pageAt('docs/guides/http.md');

/** The cells of the table rows below a heading, up to the next heading of its level or above. */
function rowsBelow(page: Page, heading: string): readonly (readonly string[])[] {
  return linesBelow(page, heading)
    .filter((line) => line.startsWith('|') && !/^\|[-:| ]+\|$/.test(line))
    .slice(1)
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

function linesBelow(page: Page, heading: string): readonly string[] {
  const found = page.headings.find(({ text }) => text === heading);
  if (found === undefined) throw new Error(`${page.path} has no heading '${heading}'.`);
  const next = page.headings.find(({ line, level }) => line > found.line && level <= found.level);
  return page.lines.slice(found.line + 1, next?.line);
}

const codesIn = (text: string): readonly string[] =>
  Array.from(text.matchAll(/`([A-Z][A-Z_]+)`/g), ([, code = '']) => code);

describe('what is generated', () => {
  it.each(pages.filter((page) => generatedIn(page).length > 0).map((page) => [page.path, page] as const))(
    'is what the sources say: %s (else: KVENT_DOCS=write npm run jest -- test/docs/reference.spec.ts)',
    (_, page) => {
      const text = regenerated(page);
      if (process.env['KVENT_DOCS'] === 'write') write(page, text);
      else expect(page.lines.join('\n')).toBe(text);
    },
  );
});

describe('docs/reference/errors.md', () => {
  const index = rowsBelow(errors, 'Errors');
  const sections = errors.headings.filter(({ level, text }) => level === 2 && /^[A-Z_]+$/.test(text));
  const codes = errorTable.map(({ code }) => code).sort();

  it('has a section and a line in the table for each code, and for nothing else', () => {
    expect(sections.map(({ text }) => text).sort()).toEqual(codes);
    expect(index.map(([link = '']) => codesIn(link)[0]).sort()).toEqual(codes);
  });

  it.each(errorTable.map((kind) => [kind.code, kind] as const))(
    'says status, retryable and title of %s as the table does',
    (code, kind) => {
      const [, status, retryable, title] = index.find(([link = '']) => codesIn(link)[0] === code) ?? [];
      expect({ status: status?.split(/[ ,]/)[0], retryable, title }).toEqual({
        status: String(kind.status),
        retryable: kind.retryable ? 'yes' : 'no',
        title: kind.title,
      });
    },
  );

  it.each([...declaredErrorFields()])('says the fields of %s', (code, fields) => {
    const line =
      linesBelow(errors, code).find((each) => each.startsWith('**Fields:**')) ?? '**Fields:** none';
    expect(Array.from(line.matchAll(/`(\w+)`:/g), ([, name]) => name)).toEqual(fields);
  });

  it.each(codes)('tells of %s when it comes, what then holds, and what to do', (code) => {
    const text = linesBelow(errors, code).join('\n');
    for (const part of ['**When:**', '**Effect:**', '**What to do:**']) expect(text).toContain(part);
  });

  it.each(codes)('is where the help of %s points', (code) => {
    const own = ownErrors.some((kind) => kind.code === code);
    const { help } = own
      ? storageError(code as OwnErrorCode, 'It is', {} as never)
      : streamError(code as StreamErrorCode, 'It is', {} as never);
    const [path = '', anchor] = help.split('#');
    expect(pageAt(path).headings.map((heading) => heading.anchor)).toContain(anchor);
  });
});

describe('the status table of docs/guides/http.md', () => {
  it('has every code that is sent, under its status', () => {
    const told = rowsBelow(http, 'Errors').flatMap(([status = '', names = '']) =>
      codesIn(names).map((code) => `${status} ${code}`),
    );
    const sent = errorTable
      .filter(({ code }) => code !== 'ABORTED')
      .map(({ status, code }) => `${status} ${code}`);
    expect(told.sort()).toEqual([...sent, '412 STORAGE_CONFLICT', '412 STREAM_VERSION_MISMATCH'].sort());
  });
});

describe('docs/reference/options.md', () => {
  /** What a call says that it takes: the list in the message that refuses an unknown name. */
  const namesTaken = async (call: (options: never) => unknown): Promise<readonly string[]> => {
    try {
      await call({ nonsense: true } as never);
    } catch (error) {
      if (!isStorageError(error, 'INVALID_OPTION')) throw error;
      const [, names = ''] = /has no option 'nonsense'; it takes (.*)\.$/.exec(error.message) ?? [];
      return names.split(', ').sort();
    }
    throw new Error('It takes an option that does not exist.');
  };
  const Things = defineState<{ a: number }>('thing');

  it('names for each verb the options that it takes', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const things = storage.store(Things);
    const entry = await things.set('a', { a: 1 });
    const calls: Record<string, (given: never) => unknown> = {
      get: (given) => things.get('a', given),
      getOrThrow: (given) => things.getOrThrow('a', given),
      has: (given) => things.has('a', given),
      stat: (given) => things.stat('a', given),
      getMany: (given) => things.getMany(['a'], given),
      list: (given) => things.list({}, given),
      page: (given) => things.page({}, given),
      keys: (given) => things.keys({}, given),
      count: (given) => things.count({}, given),
      add: (given) => things.add('a', { a: 1 }, given),
      getOrAdd: (given) => things.getOrAdd('a', () => ({ a: 1 }), given),
      replace: (given) => things.replace('a', { a: 1 }, given),
      save: (given) => things.save(entry, given),
      setMany: (given) => things.setMany([], given),
      set: (given) => things.set('a', { a: 1 }, given),
      update: (given) => things.update('a', (value) => value, given),
      touch: (given) => things.touch('a', given),
      delete: (given) => things.delete('a', given),
      take: (given) => things.take('a', given),
      deleteMany: (given) => things.deleteMany({ prefix: 'a' }, given),
      clear: (given) => things.clear(given),
      'atomic().add': (given) => storage.atomic().add(things, 'b', { a: 1 }, given),
      'atomic().set': (given) => storage.atomic().set(things, 'b', { a: 1 }, given),
      'atomic().commit': (given) => storage.atomic().commit(given),
    };
    const taken = await Promise.all(
      Object.entries(calls).map(async ([verb, call]) => [verb, await namesTaken(call)] as const),
    );
    const told = rowsBelow(options, 'The verbs of a store')
      .slice(0, 9)
      .flatMap(([verbs = '', names = '']) =>
        wordsIn(verbs).map((verb) => [verb, [...wordsIn(names)].sort()] as const),
      );
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(taken));
  });

  const Doors = defineStream('door', {
    events: { opened: event() },
    initial: () => 0,
    evolve: (times) => times + 1,
  });

  it('names for each verb of a stream the options that it takes', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const doors = new EventStore(storage).stream(Doors);
    await using session = await doors.openSession('held');
    const calls: Record<string, (given: never) => unknown> = {
      load: (given) => doors.load('a', given),
      loadOrThrow: (given) => doors.loadOrThrow('a', given),
      read: (given) => doors.read('a', given),
      version: (given) => doors.version('a', given),
      findByIdempotencyKey: (given) => doors.findByIdempotencyKey('a', 'k', given),
      findByIdempotencyKeyOrThrow: (given) => doors.findByIdempotencyKeyOrThrow('a', 'k', given),
      append: (given) => doors.append('a', [], given),
      appending: (given) => doors.appending('a', [], given),
      transact: (given) => doors.transact('a', () => [], given),
      delete: (given) => doors.delete('a', given),
      openSession: (given) => doors.openSession('a', given),
      session: (given) => doors.session('a', async () => 1, given),
      snapshot: (given) => doors.snapshot('a', given),
      snapshotAll: (given) => doors.snapshotAll('a', given),
      snapshotVersions: (given) => doors.snapshotVersions('a', given),
      clearSnapshots: (given) => doors.clearSnapshots('a', given),
      'session.append': (given) => session.append([], given),
      'session.renew': (given) => session.renew(given),
    };
    const taken = await Promise.all(
      Object.entries(calls).map(async ([verb, call]) => [verb, await namesTaken(call)] as const),
    );
    const told = rowsBelow(options, 'The verbs of a stream').flatMap(([verbs = '', names = '']) =>
      wordsIn(verbs).map((verb) => [verb, [...wordsIn(names)].sort()] as const),
    );
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(taken));
  });

  const elsewhere: Record<string, readonly [section: string, call: (given: never) => unknown]> = {
    KeyRange: [
      'KeyRange',
      async (given) => (await openStorage(new MemoryProvider())).store(Things).count(given),
    ],
    PageRequest: [
      'PageRequest',
      async (given) => await (await openStorage(new MemoryProvider())).store(Things).page(given),
    ],
    StateOptions: ['States', (given) => defineState('thing', given)],
    openStorage: [
      'Without Nest: `openStorage(provider, options)`',
      (given) => openStorage(new MemoryProvider(), given),
    ],
    SnapshotOptions: [
      '`defineStream(type, options)`',
      (given) =>
        defineStream('door', {
          events: { opened: event() },
          initial: () => 0,
          evolve: (times) => times,
          snapshot: given,
        }),
    ],
    EventMetadata: [
      'EventMetadata',
      async (given) =>
        await new EventStore(await openStorage(new MemoryProvider()))
          .stream(Doors)
          .append('a', [{ type: 'opened' }], { expectedVersion: 'any', metadata: given }),
    ],
    EventRange: [
      'EventRange',
      async (given) => new EventStore(await openStorage(new MemoryProvider())).stream(Doors).read('a', given),
    ],
    StreamPageRequest: [
      'StreamPageRequest',
      async (given) =>
        await new EventStore(await openStorage(new MemoryProvider())).stream(Doors).page(given),
    ],
    SessionOptions: [
      'SessionOptions',
      async (given) =>
        await new EventStore(await openStorage(new MemoryProvider())).stream(Doors).openSession('a', given),
    ],
    EventStoreOptions: [
      'Nest: `EventStoreModule.forRoot(options)`',
      (given) => EventStoreModule.forRoot(given),
    ],
    RetryInterceptorOptions: [
      '`RetryOnConflictInterceptor.with(options)`',
      (given) => RetryOnConflictInterceptor.with(given),
    ],
    MemoryProviderOptions: ['`new MemoryProvider(options)`', (given) => new MemoryProvider(given)],
    // its three tables stand below one heading
    PostgresProviderOptions: ['`new PostgresProvider(options)`', (given) => new PostgresProvider(given)],
  };
  it.each(Object.entries(elsewhere))('names what is taken there: %s', async (name, [section, call]) => {
    const own = rowsBelow(options, section).flatMap(([option = '']) => wordsIn(option).slice(0, 1));
    const inherited: Record<string, readonly string[]> = {
      PageRequest: ['prefix', 'start', 'end', 'reverse'],
      StateOptions: ['schema'],
      EventRange: ['signal'],
      SessionOptions: ['signal'],
      RetryInterceptorOptions: declaredOptions('RetryOptions')?.options.map((option) => option.name) ?? [],
    };
    expect([...own, ...(inherited[name] ?? [])].sort()).toEqual(await namesTaken(call));
  });

  it('names what forRoot takes, when the application starts', async () => {
    const taken = await namesTaken(async (given) => {
      const { Test } = await import('@nestjs/testing');
      await Test.createTestingModule({ imports: [KeyValueStorageModule.forRoot(given)] }).compile();
    });
    expect(
      declaredOptions('KeyValueStorageOptions')
        ?.options.map(({ name }) => name)
        .sort(),
    ).toEqual(taken);
  });

  it('has every interface of options that a front door exports', () => {
    const doors = [
      'key-value-storage',
      'key-value-storage/testing',
      'key-value-postgres',
      'event-store',
      'event-store/testing',
    ];
    const names =
      /Options$|^KeyRange$|PageRequest$|^PostgresConnection$|^EventRange$|^EventMetadata$|^EventStoreSettings$|^SameCommit$/;
    const files = doors.map((door) => `libs/${door.replace(/^[\w-]+/, '$&/src')}/index.ts`);
    // that is two interfaces, and either of two checks
    const exported = files
      .flatMap((file) => exportedNames(file, names))
      .filter((name) => name !== 'AppendOptions');
    expect(exported.filter((name) => !generatedIn(options).includes(`options ${name}`))).toEqual([]);
  });

  it('says the defaults that the code takes', () => {
    const names = generatedIn(options).map((what) => what.replace('options ', ''));
    for (const name of names) {
      const declared = declaredOptions(name);
      const literals = literalDefaults(declared?.file ?? '');
      for (const option of declared?.options ?? []) {
        const literal = literals.get(option.name);
        if (literal !== undefined)
          expect(`${name}.${option.name}: ${option.default}`).toBe(`${name}.${option.name}: ${literal}`);
      }
    }
    expect(literalDefaults('libs/key-value-storage/src/core/contention/retry-on-conflict.ts').size).toBe(
      Object.keys(retryDefaults).length,
    );
  });

  it('says how many items a page has by default, and at most', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const things = storage.store(Things);
    await things.setMany(Array.from({ length: 101 }, (_, a) => ({ key: [a], value: { a } })));
    const told = declaredOptions('PageRequest')?.options.find(({ name }) => name === 'limit');
    expect((await things.page({})).items).toHaveLength(Number(told?.default));
    expect(told?.meaning).toContain(limits.pageItemsMax.toLocaleString('en'));
  });
});

const wordsIn = (text: string): readonly string[] =>
  Array.from(text.matchAll(/`([^`]+)`/g), ([, word = '']) => word);
