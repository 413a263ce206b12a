import { expect, test } from '@jest/globals';
import { HintSource } from './hint-source.js';
import type { Hint } from '../port/storage-provider.js';

const space = (entity: string) => ({ database: 'db', container: 'c', entity });
const row = (key: string, entity = 'e') => ({ container: 'c', entity, key });
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function collectHints(hints: AsyncIterable<Hint>): Promise<readonly string[]> {
  const all: string[] = [];
  for await (const { space: of, key } of hints)
    all.push(of === undefined ? 'feed' : `${of.entity}/${key ?? '*'}`);
  return all;
}

test('a listener receives the hints of its spaces, from the call of `listen` on', async () => {
  const source = new HintSource();
  source.changed('db', [row('before')]);
  const controller = new AbortController();
  const hints = collectHints(source.listen([space('e'), space('f')], controller.signal));
  source.changed('db', [row('a')]);
  source.changed('other', [row('x')]);
  source.changed('db', [row('x', 'g')]);
  await settle();
  source.changed('db', [row('b', 'f')]);
  await settle();
  controller.abort();
  expect(await hints).toEqual(['e/a', 'f/b']);
});

test('a listener of rows and of ranges receives hints of these only, and leaves nothing behind', async () => {
  const source = new HintSource();
  const controller = new AbortController();
  const targets = [
    { ...space('e'), key: 'b' },
    { ...space('f'), start: 'm', end: 'p' },
    { ...space('f'), start: 's' },
  ];
  const hints = collectHints(source.listen(targets, controller.signal));
  source.changed(
    'db',
    ['a', 'b'].map((key) => row(key)),
  );
  source.changed(
    'db',
    ['l', 'm', 'p', 't'].map((key) => row(key, 'f')),
  );
  await settle();
  source.changedAll();
  await settle();
  controller.abort();
  expect(await hints).toEqual(['e/b', 'f/m', 'f/t', 'e/*', 'f/*']);
  expect(source.hasListeners).toBe(false);
});

test('a listener receives hints of a space in which something has changed before, and no others after it has left', async () => {
  const source = new HintSource();
  const [stays, leaves] = [new AbortController(), new AbortController()];
  const other = collectHints(source.listen([{ ...space('e'), key: 'x' }], stays.signal));
  source.changed('db', [row('a'), row('a', 'f')]);
  // the same row twice, as `watchMany` of a key twice
  const target = { ...space('f'), key: 'a' };
  const hints = collectHints(source.listen([target, target], leaves.signal));
  source.changed('db', [row('a', 'f')]);
  await settle();
  leaves.abort();
  source.changed('db', [row('a', 'f'), row('x')]);
  expect(await hints).toEqual(['f/a']);
  await settle();
  stays.abort();
  expect(await other).toEqual(['e/x']);
});

test('a listener without targets receives the hints of the feed and no others, and leaves nothing behind', async () => {
  const source = new HintSource();
  const controller = new AbortController();
  const [feed, rows] = [[], [space('e')]].map((targets) =>
    collectHints(source.listen(targets, controller.signal)),
  );
  source.changed('db', [row('a')]);
  await settle();
  source.feedMoved();
  source.feedMoved();
  await settle();
  source.feedMoved();
  await settle();
  controller.abort();
  expect(await feed).toEqual(['feed', 'feed']);
  expect(await rows).toEqual(['e/a']);
  expect(source.hasListeners).toBe(false);
});

test('a slow listener has few pending hints for each space, without a key when many keys changed', async () => {
  const source = new HintSource();
  const controller = new AbortController();
  const iterator = source.listen([space('e'), space('f')], controller.signal)[Symbol.asyncIterator]();
  for (let round = 0; round < 1_000; round += 1) source.changed('db', [row(`k${round}`), row('same', 'f')]);
  const hints = [(await iterator.next()).value, (await iterator.next()).value] as Hint[];
  expect(hints.map((hint) => [hint.space?.entity, hint.key])).toEqual([
    ['e', undefined],
    ['f', 'same'],
  ]);
  controller.abort();
  expect((await iterator.next()).done).toBe(true);
});

test('listening ends with its signal, with `end`, and with the loop of the reader; at once if the signal is aborted already', async () => {
  const source = new HintSource();
  const controller = new AbortController();
  const [one, two] = [
    collectHints(source.listen([space('e')], controller.signal)),
    collectHints(source.listen([space('e')], new AbortController().signal)),
  ];
  expect(await collectHints(source.listen([space('e')], AbortSignal.abort()))).toEqual([]);
  controller.abort();
  expect(await one).toEqual([]);
  source.changed('db', [row('a')]);
  source.end();
  expect(await two).toEqual(['e/a']);
  for await (const hint of firstHint(source)) expect(hint.key).toBe('z');
});

async function* firstHint(source: HintSource): AsyncGenerator<Hint> {
  const hints = source.listen([space('e')], new AbortController().signal);
  source.changed('db', [row('z')]);
  for await (const hint of hints) {
    yield hint;
    break;
  }
}
