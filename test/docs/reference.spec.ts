/** `docs/reference` and the code agree, in both directions. */
import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { PostgresProvider } from '@kvent/key-value-postgres';
import {
  defineCounter,
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
import { pageAt, pages, root, type Page } from './pages.js';

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

describe('the generated parts', () => {
  it.each(pages.filter((page) => generatedIn(page).length > 0).map((page) => [page.path, page] as const))(
    'match the sources: %s (to write them: KVENT_DOCS=write npm run jest -- test/docs/reference.spec.ts)',
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

  it('has a section and a row of the table for exactly each code', () => {
    expect(sections.map(({ text }) => text).sort()).toEqual(codes);
    expect(index.map(([link = '']) => codesIn(link)[0]).sort()).toEqual(codes);
  });

  it.each(errorTable.map((kind) => [kind.code, kind] as const))(
    'states status, retryable and title of %s as the code does',
    (code, kind) => {
      const [, status, retryable, title] = index.find(([link = '']) => codesIn(link)[0] === code) ?? [];
      expect({ status: status?.split(/[ ,]/)[0], retryable, title }).toEqual({
        status: String(kind.status),
        retryable: kind.retryable ? 'yes' : 'no',
        title: kind.title,
      });
    },
  );

  it.each([...declaredErrorFields()])('states the fields of %s', (code, fields) => {
    const line =
      linesBelow(errors, code).find((each) => each.startsWith('**Fields:**')) ?? '**Fields:** none';
    expect(Array.from(line.matchAll(/`(\w+)`:/g), ([, name]) => name)).toEqual(fields);
  });

  it.each(codes)('states when %s occurs, its effect, and what to do', (code) => {
    const text = linesBelow(errors, code).join('\n');
    for (const part of ['**When:**', '**Effect:**', '**What to do:**']) expect(text).toContain(part);
  });

  it.each(codes)('has the section that the help of %s names', (code) => {
    const own = ownErrors.some((kind) => kind.code === code);
    const { help } = own
      ? storageError(code as OwnErrorCode, 'It is', {} as never)
      : streamError(code as StreamErrorCode, 'It is', {});
    const [address = '', anchor] = help.split('#');
    const path = address.slice('https://github.com/kvent/kvent/blob/main/'.length);
    expect(pageAt(path).headings.map((heading) => heading.anchor)).toContain(anchor);
  });
});

describe('the status table of docs/guides/http.md', () => {
  it('has every code that is sent, with its status', () => {
    const stated = rowsBelow(http, 'Errors').flatMap(([status = '', names = '']) =>
      codesIn(names).map((code) => `${status} ${code}`),
    );
    const sent = errorTable
      .filter(({ code }) => code !== 'ABORTED')
      .map(({ status, code }) => `${status} ${code}`);
    expect(stated.sort()).toEqual(
      [...sent, '412 STORAGE_CONFLICT', '412 STREAM_VERSION_MISMATCH', '500 INVALID_VALUE'].sort(),
    );
  });
});

describe('the log lines of docs/guides/observing.md', () => {
  it('has each event with its level', () => {
    const stated = rowsBelow(pageAt('docs/guides/observing.md'), 'Streams').flatMap(
      ([event = '', level = '']) =>
        /^(log|debug|warn|error)$/.test(level) ? [`${event.replaceAll('`', '')}: ${level}`] : [],
    );
    const source = readFileSync(join(root, 'libs/event-store/src/nest/stream-logger.ts'), 'utf8');
    const logged = Array.from(
      source.matchAll(/^  '([a-z ]+)': '(\w+)',$/gm),
      ([, event, level]) => `${event}: ${level}`,
    );
    expect(logged.length).toBeGreaterThan(5);
    expect(stated.sort()).toEqual(logged.sort());
  });
});

describe('docs/reference/options.md', () => {
  /** The option names that a call accepts: the list in the message that refuses an unknown name. */
  const namesTaken = async (call: (options: never) => unknown): Promise<readonly string[]> => {
    try {
      await call({ nonsense: true } as never);
    } catch (error) {
      if (!isStorageError(error, 'INVALID_OPTION')) throw error;
      const [, names = ''] = /has no option 'nonsense'; it takes ([^.]*)\./.exec(error.message) ?? [];
      return names.split(', ').sort();
    }
    throw new Error('The call accepts an unknown option.');
  };
  const Things = defineState<{ a: number }>('thing');

  it('names the options of each verb', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const things = storage.store(Things);
    const views = storage.store(defineCounter('views'));
    const entry = await things.set('a', { a: 1 });
    const calls: Record<string, (argument: never) => unknown> = {
      get: (argument) => things.get('a', argument),
      getOrThrow: (argument) => things.getOrThrow('a', argument),
      has: (argument) => things.has('a', argument),
      stat: (argument) => things.stat('a', argument),
      getMany: (argument) => things.getMany(['a'], argument),
      list: (argument) => things.list({}, argument),
      page: (argument) => things.page({}, argument),
      keys: (argument) => things.keys({}, argument),
      count: (argument) => things.count({}, argument),
      add: (argument) => things.add('a', { a: 1 }, argument),
      getOrAdd: (argument) => things.getOrAdd('a', () => ({ a: 1 }), argument),
      replace: (argument) => things.replace('a', { a: 1 }, argument),
      save: (argument) => things.save(entry, argument),
      setMany: (argument) => things.setMany([], argument),
      addMany: (argument) => things.addMany([], argument),
      loadFrom: (argument) => things.loadFrom([], argument),
      deleteKeys: (argument) => things.deleteKeys([], argument),
      export: (argument) => things.export({}, argument),
      set: (argument) => things.set('a', { a: 1 }, argument),
      update: (argument) => things.update('a', (value) => value, argument),
      touch: (argument) => things.touch('a', argument),
      delete: (argument) => things.delete('a', argument),
      take: (argument) => things.take('a', argument),
      deleteMany: (argument) => things.deleteMany({ prefix: 'a' }, argument),
      clear: (argument) => things.clear(argument),
      watch: (argument) => things.watch('a', argument),
      watchMany: (argument) => things.watchMany(['a'], argument),
      watchRange: (argument) => things.watchRange({}, argument),
      'atomic().add': (argument) => storage.atomic().add(things, 'b', { a: 1 }, argument),
      'atomic().set': (argument) => storage.atomic().set(things, 'b', { a: 1 }, argument),
      'atomic().replace': (argument) => storage.atomic().replace(things, 'a', { a: 1 }, argument),
      'atomic().delete': (argument) => storage.atomic().delete(things, 'a', argument),
      'atomic().increment': (argument) => storage.atomic().increment(views, 'a', 1, argument),
      'atomic().decrement': (argument) => storage.atomic().decrement(views, 'a', 1, argument),
      'atomic().raiseTo': (argument) => storage.atomic().raiseTo(views, 'a', 1, argument),
      'atomic().lowerTo': (argument) => storage.atomic().lowerTo(views, 'a', 1, argument),
      'atomic().commit': (argument) => storage.atomic().commit(argument),
    };
    const taken = await Promise.all(
      Object.entries(calls).map(async ([verb, call]) => [verb, await namesTaken(call)] as const),
    );
    const stated = rowsBelow(options, 'The verbs of a store')
      .slice(0, 17)
      .flatMap(([verbs = '', names = '']) =>
        wordsIn(verbs).map((verb) => [verb, [...wordsIn(names)].sort()] as const),
      );
    expect(Object.fromEntries(stated)).toEqual(Object.fromEntries(taken));
  });

  it('names the options of each verb of a counter', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const views = storage.store(defineCounter('views'));
    const calls: Record<string, (argument: never) => unknown> = {
      get: (argument) => views.get('a', argument),
      getMany: (argument) => views.getMany(['a'], argument),
      list: (argument) => views.list({}, argument),
      increment: (argument) => views.increment('a', 1, argument),
      decrement: (argument) => views.decrement('a', 1, argument),
      raiseTo: (argument) => views.raiseTo('a', 1, argument),
      lowerTo: (argument) => views.lowerTo('a', 1, argument),
      reset: (argument) => views.reset('a', argument),
    };
    const taken = await Promise.all(
      Object.entries(calls).map(async ([verb, call]) => [verb, await namesTaken(call)] as const),
    );
    const stated = rowsBelow(options, 'Counters').flatMap(([verbs = '', names = '']) =>
      wordsIn(verbs).map((verb) => [verb, [...wordsIn(names)].sort()] as const),
    );
    expect(Object.fromEntries(stated)).toEqual(Object.fromEntries(taken));
  });

  const Doors = defineStream('door', {
    events: { opened: event() },
    initial: () => 0,
    evolve: (times) => times + 1,
  });

  it('names the options of each verb of a stream', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const doors = new EventStore(storage).stream(Doors);
    await using session = await doors.openSession('held');
    const calls: Record<string, (argument: never) => unknown> = {
      load: (argument) => doors.load('a', argument),
      loadOrThrow: (argument) => doors.loadOrThrow('a', argument),
      read: (argument) => doors.read('a', argument),
      version: (argument) => doors.version('a', argument),
      findByIdempotencyKey: (argument) => doors.findByIdempotencyKey('a', 'k', argument),
      findByIdempotencyKeyOrThrow: (argument) => doors.findByIdempotencyKeyOrThrow('a', 'k', argument),
      append: (argument) => doors.append('a', [], argument),
      appending: (argument) => doors.appending('a', [], argument),
      transact: (argument) => doors.transact('a', () => [], argument),
      delete: (argument) => doors.delete('a', argument),
      openSession: (argument) => doors.openSession('a', argument),
      session: (argument) => doors.session('a', async () => 1, argument),
      unlock: (argument) => doors.unlock('a', argument),
      snapshot: (argument) => doors.snapshot('a', argument),
      snapshotAll: (argument) => doors.snapshotAll('a', argument),
      snapshotVersions: (argument) => doors.snapshotVersions('a', argument),
      clearSnapshots: (argument) => doors.clearSnapshots('a', argument),
      'session.append': (argument) => session.append([], argument),
      'session.renew': (argument) => session.renew(argument),
    };
    const taken = await Promise.all(
      Object.entries(calls).map(async ([verb, call]) => [verb, await namesTaken(call)] as const),
    );
    const stated = rowsBelow(options, 'The verbs of a stream').flatMap(([verbs = '', names = '']) =>
      wordsIn(verbs).map((verb) => [verb, [...wordsIn(names)].sort()] as const),
    );
    expect(Object.fromEntries(stated)).toEqual(Object.fromEntries(taken));
  });

  const elsewhere: Record<string, readonly [section: string, call: (argument: never) => unknown]> = {
    KeyRange: [
      'KeyRange',
      async (argument) => (await openStorage(new MemoryProvider())).store(Things).count(argument),
    ],
    PageRequest: [
      'PageRequest',
      async (argument) => await (await openStorage(new MemoryProvider())).store(Things).page(argument),
    ],
    StateOptions: ['States', (argument) => defineState('thing', argument)],
    openStorage: [
      'Without Nest: `openStorage(provider, options)`',
      (argument) => openStorage(new MemoryProvider(), argument),
    ],
    SnapshotOptions: [
      '`defineStream(type, options)`',
      (argument) =>
        defineStream('door', {
          events: { opened: event() },
          initial: () => 0,
          evolve: (times) => times,
          snapshot: argument,
        }),
    ],
    EventMetadata: [
      'EventMetadata',
      async (argument) =>
        await new EventStore(await openStorage(new MemoryProvider()))
          .stream(Doors)
          .append('a', [{ type: 'opened' }], { expectedVersion: 'any', metadata: argument }),
    ],
    EventRange: [
      'EventRange',
      async (argument) =>
        new EventStore(await openStorage(new MemoryProvider())).stream(Doors).read('a', argument),
    ],
    StreamPageRequest: [
      'StreamPageRequest',
      async (argument) =>
        await new EventStore(await openStorage(new MemoryProvider())).stream(Doors).page(argument),
    ],
    SessionOptions: [
      'SessionOptions',
      async (argument) =>
        await new EventStore(await openStorage(new MemoryProvider()))
          .stream(Doors)
          .openSession('a', argument),
    ],
    EventStoreOptions: [
      'Nest: `EventStoreModule.forRoot(options)`',
      (argument) => EventStoreModule.forRoot(argument),
    ],
    RetryInterceptorOptions: [
      '`RetryOnConflictInterceptor.with(options)`',
      (argument) => RetryOnConflictInterceptor.with(argument),
    ],
    MemoryProviderOptions: ['`new MemoryProvider(options)`', (argument) => new MemoryProvider(argument)],
    // Its three tables are below one heading.
    PostgresProviderOptions: [
      '`new PostgresProvider(options)`',
      (argument) => new PostgresProvider(argument),
    ],
  };
  it.each(Object.entries(elsewhere))('names the options of %s', async (name, [section, call]) => {
    const own = rowsBelow(options, section).flatMap(([option = '']) => wordsIn(option).slice(0, 1));
    const inherited: Record<string, readonly string[]> = {
      PageRequest: ['cursor', 'prefix', 'start', 'end', 'reverse'],
      StateOptions: ['schema', 'key', 'indexes'],
      EventRange: ['signal'],
      SessionOptions: ['signal'],
      RetryInterceptorOptions: declaredOptions('RetryOptions')?.options.map((option) => option.name) ?? [],
    };
    expect([...own, ...(inherited[name] ?? [])].sort()).toEqual(await namesTaken(call));
  });

  it('names the options of forRoot', async () => {
    const taken = await namesTaken(async (argument) => {
      const { Test } = await import('@nestjs/testing');
      await Test.createTestingModule({ imports: [KeyValueStorageModule.forRoot(argument)] }).compile();
    });
    expect(
      declaredOptions('KeyValueStorageOptions')
        ?.options.map(({ name }) => name)
        .sort(),
    ).toEqual(taken);
  });

  it('has every exported interface of options', () => {
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
    // AppendOptions is a union of two interfaces.
    const exported = files
      .flatMap((file) => exportedNames(file, names))
      .filter((name) => name !== 'AppendOptions');
    expect(exported.filter((name) => !generatedIn(options).includes(`options ${name}`))).toEqual([]);
  });

  it('states the default values of the code', () => {
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

  it('states the default and the maximum number of items of a page', async () => {
    await using storage = await openStorage(new MemoryProvider());
    const things = storage.store(Things);
    await things.setMany(Array.from({ length: 101 }, (_, a) => ({ key: [a], value: { a } })));
    const limit = declaredOptions('PageRequest')?.options.find(({ name }) => name === 'limit');
    expect((await things.page({})).items).toHaveLength(Number(limit?.default));
    expect(limit?.meaning).toContain(limits.pageItemsMax.toLocaleString('en'));
  });
});

const wordsIn = (text: string): readonly string[] =>
  Array.from(text.matchAll(/`([^`]+)`/g), ([, word = '']) => word);
