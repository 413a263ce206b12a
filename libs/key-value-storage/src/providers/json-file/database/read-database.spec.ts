import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { RawRow } from '../../../core/port/storage-provider.js';
import { headerLine, seedOf, type JournalLine } from '../format/journal-line.js';
import { nodeFileSystem } from '../disk/node-file-system.js';
import { readDatabase } from './read-database.js';
import { writtenLine } from '../format/spec-support.js';
import { writeSnapshot } from './snapshot-file.js';

const database = 'tenant:acme';
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kvent-rules-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const raw = (key: string, text: string): RawRow => ({
  container: 'state:x',
  entity: 'e',
  key,
  row: { version: '1', value: { kind: 'json', text }, updatedAt: 1 },
});
const commit = (number: number, onDisk: number, key = 'a'): JournalLine => {
  const { row, ...address } = raw(key, `${number}`);
  return { kind: 'commit', number, onDisk, time: number, effects: [{ address, row }] };
};

/** A journal as it is written; `damage` gets its lines and may change them. */
function journal(
  generation: number,
  lines: readonly JournalLine[],
  damage: (lines: string[]) => void = () => undefined,
  after = 0,
): void {
  const header = headerLine({ database, generation, after }, `id-${generation}`);
  const written = [header, ...lines.map((line) => writtenLine(line, seedOf(header)).toString())].map(
    (line) => `${line}\n`,
  );
  damage(written);
  writeFileSync(join(directory, `journal-${generation}.jsonl`), written.join(''));
}

async function snapshot(generation: number, upTo: number, rows: readonly RawRow[]): Promise<string> {
  const path = join(directory, `snapshot-${generation}.json`);
  await writeSnapshot(
    nodeFileSystem,
    path,
    { database, generation, upTo, time: upTo },
    [rows],
    () => undefined,
  );
  return path;
}

const open = () => readDatabase(nodeFileSystem, directory, database);
const value = async (key = 'a') =>
  (await open()).table.get({ container: 'state:x', entity: 'e', key })?.value;
const number = (of: number) => ({ kind: 'json', text: `${of}` });
const spoil = (line: number) => (lines: string[]) => {
  lines[line] = (lines[line] ?? '').replace('state', 'stale');
};
const corruptAt = (place: string) =>
  expect.objectContaining({ code: 'STORAGE_CORRUPT', place: expect.stringContaining(place) as unknown });

describe('the state of a directory', () => {
  it('is refused for its first missing journal, however many there are and however large their numbers', async () => {
    const listed = (names: readonly string[]) =>
      readDatabase({ ...nodeFileSystem, list: () => Promise.resolve(names) }, directory, database);
    const many = Array.from({ length: 200_000 }, (_, index) => `journal-${index + 2}.jsonl`);
    await expect(listed(many)).rejects.toEqual(corruptAt('journal-1.jsonl'));
    const large = ['journal-1.jsonl', `journal-${Number.MAX_SAFE_INTEGER}.jsonl`];
    await expect(listed(large)).rejects.toEqual(corruptAt('journal-2.jsonl'));
  });

  it('is the snapshot and the journals after it; lines that the snapshot covers are skipped', async () => {
    await snapshot(2, 2, [raw('a', '2'), raw('b', '1')]);
    journal(2, [commit(2, 1, 'b'), commit(3, 2)]);
    journal(3, [commit(4, 3, 'c'), { kind: 'end', onDisk: 4 }]);
    const recovered = await open();
    expect(recovered).toMatchObject({
      last: 4,
      time: { time: 4, wall: 4 },
      generation: 3,
      closed: true,
      warnings: [],
      stale: [],
    });
    expect([...recovered.table.all()].map(({ key, row }) => [key, row.value])).toEqual([
      ['a', number(3)],
      ['b', number(1)],
      ['c', number(4)],
    ]);
  });

  it('counts as closed only with an end mark as the very last line', async () => {
    journal(1, [commit(1, 0), { kind: 'end', onDisk: 1 }]);
    expect((await open()).closed).toBe(true);
    journal(2, []);
    expect((await open()).closed).toBe(false);
    journal(2, [commit(2, 1)]);
    expect((await open()).closed).toBe(false);
  });

  it('ignores files of older generations and unfinished files', async () => {
    journal(1, [commit(1, 0)], spoil(1));
    await snapshot(1, 0, []);
    await snapshot(2, 1, [raw('a', '1')]);
    journal(2, []);
    writeFileSync(join(directory, 'snapshot-3.json.0123456789abcdef.tmp'), 'half');
    expect((await open()).stale.toSorted()).toEqual([
      'journal-1.jsonl',
      'snapshot-1.json',
      'snapshot-3.json.0123456789abcdef.tmp',
    ]);
  });
});

describe('a damaged line', () => {
  it('at the end is cut off with a warning that names file and line', async () => {
    journal(1, [commit(1, 0), commit(2, 1)], spoil(2));
    expect(await open()).toMatchObject({
      last: 1,
      closed: false,
      warnings: [expect.stringContaining('journal-1.jsonl:3')],
    });
    expect(await value()).toEqual(number(1));
  });

  it.each([1, 5, 40, 100])('that was torn after %i bytes is cut off', async (bytes) => {
    journal(1, [commit(1, 0), commit(2, 1)], (lines) => {
      lines[2] = (lines[2] ?? '').slice(0, bytes);
    });
    expect(await open()).toMatchObject({ last: 1, warnings: [expect.stringContaining('journal-1.jsonl:3')] });
  });

  it('is cut off with the intact lines after it that were in flight with it', async () => {
    journal(1, [commit(1, 0), commit(2, 1), commit(3, 1, 'b'), commit(4, 1)], spoil(2));
    expect(await open()).toMatchObject({ last: 1, warnings: [expect.stringContaining('the 3 line(s)')] });
    expect(await value('b')).toBeUndefined();
  });

  it.each<[string, JournalLine]>([
    ['a commit', commit(3, 2)],
    ['the note of an idle owner', { kind: 'note', onDisk: 2 }],
    ['an end mark', { kind: 'end', onDisk: 2 }],
    ['a mark that another journal goes on', { kind: 'next', onDisk: 2, generation: 2 }],
  ])('is refused when %s behind it says that it was on disk', async (_, last) => {
    journal(1, [commit(1, 0), commit(2, 1), last], spoil(2));
    journal(2, []);
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:3'));
  });

  it('is refused when the next journal says that it was on disk', async () => {
    journal(1, [commit(1, 0), commit(2, 1)], spoil(2));
    journal(2, [commit(3, 2)]);
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:3'));
  });

  it('that was an end mark loses nothing if the next journal continues without a gap', async () => {
    journal(1, [commit(1, 0), { kind: 'end', onDisk: 1 }], (lines) => {
      lines[2] = (lines[2] ?? '').slice(0, 9);
    });
    journal(2, [commit(2, 1), commit(3, 2)]);
    expect(await open()).toMatchObject({ last: 3, warnings: [] });
  });

  it('at the beginning of a journal is refused if anything follows it', async () => {
    journal(1, [commit(1, 0)], (lines) => {
      lines[0] = (lines[0] ?? '').replace('acme', 'acne');
    });
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:1'));
  });

  it('at the beginning of a journal without other lines was never finished', async () => {
    journal(1, [commit(1, 0)]);
    writeFileSync(join(directory, 'journal-2.jsonl'), '{"sum":"01');
    expect(await open()).toMatchObject({
      last: 1,
      generation: 2,
      closed: false,
      warnings: [expect.stringContaining('journal-2.jsonl:1')],
    });
    journal(3, [commit(2, 1), commit(3, 2)]);
    expect(await open()).toMatchObject({ last: 3, warnings: [] });
    rmSync(join(directory, 'journal-3.jsonl'));
    writeFileSync(join(directory, 'journal-2.jsonl'), '');
    expect(await open()).toMatchObject({
      last: 1,
      generation: 2,
      closed: false,
      warnings: [expect.stringContaining('journal-2.jsonl:1')],
    });
  });

  it.each(['', '{"sum":"01', '\0\0\0\n'])(
    'at the beginning of the first journal is refused, for its directory appeared with it: %j',
    async (text) => {
      writeFileSync(join(directory, 'journal-1.jsonl'), text);
      await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:1'));
    },
  );

  it.each(['', '{"sum":"01', '\0\0\0\n'])(
    'at the beginning of a journal that has a snapshot is refused: %j',
    async (text) => {
      await snapshot(2, 1, [raw('a', '1')]);
      writeFileSync(join(directory, 'journal-2.jsonl'), text);
      await expect(open()).rejects.toEqual(corruptAt('journal-2.jsonl:1'));
    },
  );

  it('is refused when the next journal says at its beginning that more was on disk', async () => {
    journal(1, [commit(1, 0)]);
    writeFileSync(join(directory, 'journal-2.jsonl'), '');
    journal(3, [], undefined, 2);
    await expect(open()).rejects.toEqual(corruptAt('journal-2.jsonl:1'));
    journal(2, []);
    await expect(open()).rejects.toEqual(corruptAt('journal-3.jsonl:1'));
    journal(3, [], undefined, 1);
    expect(await open()).toMatchObject({ last: 1, warnings: [] });
  });

  it.each<[string, JournalLine]>([
    ['a commit', commit(3, 2)],
    ['the note of an idle owner', { kind: 'note', onDisk: 2 }],
    ['an end mark', { kind: 'end', onDisk: 2 }],
    ['a mark that another journal goes on', { kind: 'next', onDisk: 2, generation: 2 }],
  ])('is refused when it swallowed %s that says that it was on disk', async (_, last) => {
    for (const instead of ['\u000b', '*', '\0', ' ', ',']) {
      journal(1, [commit(1, 0), commit(2, 1), last], (lines) => {
        lines[2] = (lines[2] ?? '').replace('\n', instead);
      });
      journal(2, []);
      await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:3'));
    }
  });

  it('is cut off with the line that it swallowed if both were in flight', async () => {
    journal(1, [commit(1, 0), commit(2, 1), commit(3, 1)], (lines) => {
      lines[2] = (lines[2] ?? '').replace('\n', '*');
    });
    expect(await open()).toMatchObject({ last: 1, warnings: [expect.stringContaining('journal-1.jsonl:3')] });
  });

  it('is cut off when a value in it looks like a line of the journal', async () => {
    const { row, ...address } = raw(
      'a',
      `[${Array.from({ length: 1_000 }, () => '{"sum":"00000000","onDisk":9}').join()}]`,
    );
    const last: JournalLine = { kind: 'commit', number: 2, onDisk: 1, time: 2, effects: [{ address, row }] };
    journal(1, [commit(1, 0), last], (lines) => {
      lines[2] = (lines[2] ?? '').replace('state', 'stale');
    });
    expect(await open()).toMatchObject({ last: 1, warnings: [expect.stringContaining('journal-1.jsonl:3')] });
  });

  it('at the beginning of a journal is refused when it was finished', async () => {
    journal(1, [commit(1, 0)], (lines) => lines.shift());
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:1'));
  });

  it('before the commit that follows is not a tail', async () => {
    journal(1, [commit(1, 0), commit(2, 1)], (lines) => lines.splice(1, 0, lines[0] ?? ''));
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:2'));
  });
});

describe('what is missing', () => {
  it('in the middle of a journal is refused', async () => {
    journal(1, [commit(1, 0), commit(2, 1), commit(3, 2)], (lines) => lines.splice(2, 1));
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:3'));
  });

  it('is refused also among commits in flight together: a torn write leaves a hole', async () => {
    journal(1, [commit(1, 0), commit(2, 1), commit(3, 1)], (lines) => lines.splice(2, 1));
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:3'));
  });

  it('before an end mark is refused', async () => {
    journal(1, [commit(1, 0), commit(2, 1), { kind: 'end', onDisk: 2 }], (lines) => lines.splice(2, 1));
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:3'));
  });

  it('a commit that is repeated is refused', async () => {
    journal(1, [commit(1, 0), commit(2, 1), commit(2, 1)]);
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:4'));
  });

  it.each([
    ['the first journal', 1],
    ['a journal in the middle', 2],
    ['the journal that the one before says goes on', 3],
  ])('is refused by name: %s', async (_, missing) => {
    journal(1, [commit(1, 0), { kind: 'next', onDisk: 1, generation: 2 }]);
    journal(2, [commit(2, 1), { kind: 'next', onDisk: 2, generation: 3 }]);
    journal(3, [commit(3, 2)]);
    rmSync(join(directory, `journal-${missing}.jsonl`));
    await expect(open()).rejects.toEqual(corruptAt(`journal-${missing}.jsonl`));
  });

  it('the journal of the snapshot is refused by name', async () => {
    await snapshot(4, 9, [raw('a', '1')]);
    await expect(open()).rejects.toEqual(corruptAt('journal-4.jsonl'));
  });

  it('everything is refused: an empty directory is not an empty database', async () => {
    await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl'));
  });
});

describe('the newest snapshot', () => {
  const lines = (path: string) => readFileSync(path, 'utf8').split('\n');

  it('is a JSON document with one row a line', async () => {
    const path = await snapshot(2, 5, [raw('a', '1'), raw('b', '{"title":"Tea"}')]);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({
      kvent: 'snapshot',
      upTo: 5,
      count: 2,
      rows: [{ key: 'a' }, { key: 'b', json: { title: 'Tea' } }],
    });
    expect(lines(path)).toHaveLength(5);
  });

  it('is refused, naming the line, when it is damaged; an older one never stands in', async () => {
    await snapshot(1, 0, []);
    journal(1, [commit(1, 0)]);
    journal(2, []);
    const path = await snapshot(2, 1, [raw('a', '1'), raw('b', '1'), raw('c', '1')]);
    const whole = lines(path);
    for (const [index, line] of whole.slice(0, -1).entries()) {
      writeFileSync(
        path,
        whole
          .with(
            index,
            line.replace(/[0-9]/, (digit) => `${9 - Number(digit)}`),
          )
          .join('\n'),
      );
      await expect(open()).rejects.toEqual(corruptAt(`snapshot-2.json:${index + 1}`));
    }
  });

  it('is refused if lines are missing, repeated or moved', async () => {
    journal(2, []);
    const path = await snapshot(2, 1, [raw('a', '1'), raw('b', '1'), raw('c', '1')]);
    const whole = lines(path);
    for (const spoilt of [
      whole.toSpliced(2, 1),
      whole.toSpliced(2, 0, whole[2] ?? ''),
      whole.with(1, whole[2] ?? '').with(2, whole[1] ?? ''),
      whole.slice(0, 3),
      [],
    ]) {
      writeFileSync(path, spoilt.join('\n'));
      await expect(open()).rejects.toEqual(corruptAt('snapshot-2.json:'));
    }
  });

  it('of another database, or under another number, is refused', async () => {
    journal(2, []);
    const path = await snapshot(2, 1, []);
    await expect(readDatabase(nodeFileSystem, directory, 'tenant:other')).rejects.toEqual(
      corruptAt('snapshot-2.json:1'),
    );
    journal(3, []);
    writeFileSync(join(directory, 'snapshot-3.json'), readFileSync(path));
    await expect(open()).rejects.toEqual(corruptAt('snapshot-3.json:1'));
  });
});

it('reading changes nothing', async () => {
  journal(1, [commit(1, 0), commit(2, 1), commit(3, 2)], spoil(2));
  mkdirSync(join(directory, 'theirs'));
  const before = readdirSync(directory).map((name) => [
    name,
    name === 'theirs' ? '' : readFileSync(join(directory, name), 'utf8'),
  ]);
  await expect(open()).rejects.toEqual(corruptAt('journal-1.jsonl:3'));
  expect(
    readdirSync(directory).map((name) => [
      name,
      name === 'theirs' ? '' : readFileSync(join(directory, name), 'utf8'),
    ]),
  ).toEqual(before);
});
