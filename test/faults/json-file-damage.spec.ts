/**
 * Damaged files: torn last lines of every length, flipped bits, missing files, moved lines. The
 * provider must refuse to open with `STORAGE_CORRUPT`, name file and line, and change nothing; or
 * have exactly the acknowledged rows; or, if the damage is at the end and may never have been
 * acknowledged, cut it off with a warning.
 */
import { beforeAll, describe, expect, it } from '@jest/globals';
import { isStorageError } from '../../libs/key-value-storage/src/core.js';
import { Machine } from './machine.js';
import { Scenario } from './scenario.js';
import { seededRandom, seedOfRun, withSeed } from './seeded-random.js';
import { sweep } from './sweep.js';
import { SimulatedDisk } from './simulated-disk.js';

const runSeed = seedOfRun();

/** The outcome of opening: refused, complete, or without the last lines and with a warning. */
type Verdict = 'refused' | 'complete' | 'cut off';

interface Image {
  readonly disk: SimulatedDisk;
  readonly scenario: Scenario;
}

/** All files but the lock, which each process writes anew. */
const dataFiles = (disk: SimulatedDisk): readonly string[] =>
  disk.files().filter((path) => !/lock/.test(path));
const journals = (disk: SimulatedDisk): readonly string[] =>
  dataFiles(disk).filter((path) => /journal/.test(path) && disk.contentOf(path).length > 0);

/** The content of every file. */
const contents = (disk: SimulatedDisk): Map<string, string> =>
  new Map(dataFiles(disk).map((path) => [path, Buffer.from(disk.contentOf(path)).toString('base64')]));

/**
 * Commits a few batches and ends the process. When idle, it had time to record that all of them are
 * on disk.
 */
async function image(
  end: 'closed' | 'killed' | 'killed when idle',
  writeAheadBytes = 1_000,
  seed = runSeed,
): Promise<Image> {
  const machine = new Machine(new SimulatedDisk(seed, undefined, writeAheadBytes));
  const scenario = new Scenario(machine, seed);
  await scenario.open();
  await scenario.commit('shared');
  await scenario.close();
  await scenario.open(); // creates a snapshot beside the journal
  await scenario.commit('shared');
  await scenario.commit('shared');
  await scenario.commit('tenant:a');
  await scenario.commit('shared');
  if (end === 'killed when idle') await scenario.idle();
  if (end === 'closed') await scenario.close();
  else await scenario.kill();
  return { disk: machine.disk.afterKill(), scenario };
}

let openings = 0;

/**
 * Opens a changed copy of the image. `inDoubt`: how many of the last commits of each database the
 * damage may have removed.
 */
async function opened(
  { disk, scenario }: Image,
  change: (disk: SimulatedDisk) => void,
  inDoubt: number,
): Promise<Verdict> {
  openings += 1;
  const copy = disk.afterKill();
  change(copy);
  const before = contents(copy);
  const machine = new Machine(copy, { boot: 'another', knowsBoots: openings % 8 !== 0 });
  const reopened = scenario.on(machine, 1);
  try {
    await reopened.openDoubting(inDoubt);
  } catch (error) {
    if (!isStorageError(error, 'STORAGE_CORRUPT')) throw error;
    expect(error.place).toMatch(/\/data\/.+/);
    expect(error.effect).toBe('none');
    expect(contents(copy)).toEqual(before);
    return 'refused';
  }
  const lost = reopened.lost;
  if (lost > 0) expect(reopened.process.warnings.join('\n')).toMatch(/\/data\/.*journal/);
  await reopened.commit('shared');
  await reopened.close();
  const last = reopened.on(reopened.machine.afterPowerCut(2), 2);
  await last.open();
  await last.close();
  return lost > 0 ? 'cut off' : 'complete';
}

const flip = (path: string, at: number, bit: number) => (disk: SimulatedDisk) => {
  const bytes = disk.contentOf(path).slice();
  bytes[at] = (bytes[at] as number) ^ (1 << bit);
  disk.replace(path, bytes);
};

const cutTo = (path: string, length: number) => (disk: SimulatedDisk) =>
  disk.replace(path, disk.contentOf(path).slice(0, length));

const edit = (path: string, change: (lines: string[]) => string[]) => (disk: SimulatedDisk) => {
  const text = disk.textOf(path);
  const lines = text.split('\n').slice(0, -1);
  disk.replace(
    path,
    Buffer.from(
      change(lines)
        .map((line) => `${line}\n`)
        .join(''),
    ),
  );
};

/** Counts the verdicts. */
async function count(work: readonly (() => Promise<Verdict>)[]): Promise<Record<Verdict, number>> {
  const verdicts = { refused: 0, complete: 0, 'cut off': 0 };
  for (const each of work) verdicts[await each()] += 1;
  return verdicts;
}

describe(`the JSON file when its files are damaged (KVENT_SEED=${runSeed})`, () => {
  let killed: Image;
  /** Its journals are not written ahead: they end with their last line. */
  let killedAtEnd: Image;
  let idle: Image;
  let closed: Image;

  beforeAll(async () => {
    killed = await image('killed');
    killedAtEnd = await image('killed', 0);
    idle = await image('killed when idle');
    closed = await image('closed');
  });

  it('opens undamaged files completely', async () => {
    for (const each of [killed, killedAtEnd, idle, closed])
      expect(await opened(each, () => undefined, 0)).toBe('complete');
  });

  it('cuts off a torn last line of any length, with a warning, and continues', async () => {
    for (const [each, oneIn] of [
      [killedAtEnd, 4],
      [killed, 16],
    ] as const) {
      const path = lastJournal(each.disk, 'shared');
      const bytes = each.disk.contentOf(path);
      const { from, to } = lastLineOf(bytes);
      // Cut exactly at its begin, the line leaves no trace: the same as if the process had been
      // killed before it.
      for (const offset of sweep(oneIn, runSeed, { end: bytes.length - from - 1 })) {
        const length = from + 1 + offset;
        const verdict = await withSeed(`${path} torn at ${length} of ${to}`, runSeed, () =>
          opened(each, cutTo(path, length), 1),
        );
        // The provider may accept a last line without its line feed.
        if (length < to - 1) expect([length, verdict]).toEqual([length, 'cut off']);
        if (length >= to) expect([length, verdict]).toEqual([length, 'complete']);
      }
    }
  }, 300_000);

  it('cuts off a last line of which a part is still blank: it was torn where the journal was written ahead', async () => {
    const path = lastJournal(killed.disk, 'shared');
    const bytes = killed.disk.contentOf(path);
    const { from, to } = lastLineOf(bytes);
    expect(bytes.length).toBeGreaterThan(to);
    expect(bytes.slice(to).every((byte) => byte === 0x20)).toBe(true);
    for (const offset of sweep(8, runSeed, { end: to - from - 1 })) {
      const at = from + 1 + offset;
      for (const [what, blank] of [
        ['from', bytes.slice().fill(0x20, at)],
        ['up to', bytes.slice().fill(0x20, from, at)],
      ] as const) {
        const verdict = await withSeed(`${path}, blank ${what} ${at} of ${to}`, runSeed, () =>
          opened(killed, (disk) => disk.replace(path, blank), 1),
        );
        if (what === 'up to' || at < to - 1) expect([what, at, verdict]).toEqual([what, at, 'cut off']);
      }
    }
  }, 300_000);

  it('cuts off a last line of which a part was never written (zeros)', async () => {
    for (const [each, oneIn] of [
      [killedAtEnd, 2],
      [killed, 16],
    ] as const) {
      const path = lastJournal(each.disk, 'shared');
      const bytes = each.disk.contentOf(path);
      const { from } = lastLineOf(bytes);
      for (const offset of sweep(oneIn, runSeed, { end: bytes.length - from })) {
        const at = from + offset;
        const zeroed = (disk: SimulatedDisk): void => disk.replace(path, bytes.slice().fill(0, at));
        await withSeed(`${path} zeros from ${at}`, runSeed, () => opened(each, zeroed, 1));
        const hole = (disk: SimulatedDisk): void => disk.replace(path, bytes.slice().fill(0, from, at));
        await withSeed(`${path} zeros from ${from} to ${at}`, runSeed, () => opened(each, hole, 1));
      }
    }
  }, 300_000);

  it('never returns wrong data after a bit was flipped anywhere in any file, a part of them per run', async () => {
    for (const [name, each, inDoubt] of [
      ['killed', killed, 1],
      ['idle', idle, 0],
      ['closed', closed, 0],
    ] as const) {
      const random = seededRandom(runSeed);
      const flips = dataFiles(each.disk).flatMap((path) => {
        const bytes = each.disk.contentOf(path);
        return [...sweep(12, random.below(2 ** 31), { end: bytes.length })].map((at) => {
          const bit = random.below(8);
          return async (): Promise<Verdict> => {
            const where = `${name}: bit ${bit} of byte ${at} of ${path}`;
            const verdict = await withSeed(where, runSeed, () => opened(each, flip(path, at, bit), inDoubt));
            if (inDoubt === 0) expect([where, verdict]).not.toEqual([where, 'cut off']);
            return verdict;
          };
        });
      });
      const verdicts = await count(flips);
      expect([name, verdicts.refused > 0]).toEqual([name, true]);
    }
  }, 300_000);

  // Except for the end of the newest journal: a missing end cannot be distinguished from an earlier
  // kill.
  it('refuses if a file is missing or cut short', async () => {
    for (const each of [idle, closed]) {
      const newest = [lastJournal(each.disk, 'shared'), lastJournal(each.disk, 'tenant')];
      for (const path of dataFiles(each.disk).filter((file) => !newest.includes(file))) {
        const bytes = each.disk.contentOf(path);
        expect([path, await opened(each, (disk) => disk.replace(path, undefined), 0)]).toEqual([
          path,
          'refused',
        ]);
        for (const length of sweep(3, runSeed, { end: bytes.length })) {
          const verdict = await withSeed(`${path} cut to ${length}`, runSeed, () =>
            opened(each, cutTo(path, length), 0),
          );
          expect([path, length, verdict]).not.toEqual([path, length, 'cut off']);
        }
      }
    }
  }, 300_000);

  it('refuses if all files of a database are missing, have other names, or only an unfinished one is left', async () => {
    const lost: Record<string, (path: string) => string | undefined> = {
      missing: () => undefined,
      backups: (path) => `${path}.bak`,
      hidden: (path) => path.replace(/([^/]+)$/, '.$1.aB3xYz'),
      unfinished: (path) => path.replace(/[^/]+$/, 'snapshot-9.json.0123456789abcdef.tmp'),
    };
    for (const each of [idle, closed]) {
      for (const directory of ['/data/shared/', '/data/tenant.a/']) {
        const files = dataFiles(each.disk).filter((path) => path.startsWith(directory));
        expect(files.length).toBeGreaterThan(0);
        for (const [what, nameOf] of Object.entries(lost)) {
          const lose = (disk: SimulatedDisk): void => {
            for (const path of files) {
              const name = nameOf(path);
              if (name !== undefined) disk.replace(name, disk.contentOf(path));
              disk.replace(path, undefined);
            }
          };
          expect([directory, what, await opened(each, lose, 0)]).toEqual([directory, what, 'refused']);
        }
      }
    }
  });

  it('refuses if any line feed before the end was damaged', async () => {
    for (const each of [idle, closed]) {
      for (const path of journals(each.disk)) {
        const bytes = Buffer.from(each.disk.contentOf(path));
        for (let at = bytes.indexOf(10); at >= 0 && at < bytes.length - 1; at = bytes.indexOf(10, at + 1)) {
          for (let bit = 0; bit < 8; bit += 1) {
            const verdict = await withSeed(`bit ${bit} of the line feed at ${at} of ${path}`, runSeed, () =>
              opened(each, flip(path, at, bit), 0),
            );
            expect([path, at, bit, verdict]).not.toEqual([path, at, bit, 'cut off']);
          }
        }
      }
    }
  }, 300_000);

  it('refuses if a journal is emptied that is the first or has a snapshot, alone or with its snapshot', async () => {
    for (const each of [idle, closed]) {
      const { disk } = each;
      const first = journals(disk).filter(
        (path) =>
          disk.files().includes(path.replace(/journal-(\d+)\.jsonl$/, 'snapshot-$1.json')) ||
          /journal-1\./.test(path),
      );
      expect(first.length).toBeGreaterThan(1);
      for (const path of first) {
        expect([path, await opened(each, cutTo(path, 0), 0)]).toEqual([path, 'refused']);
        const beside = path.replace(/journal-(\d+)\.jsonl$/, 'snapshot-$1.json');
        const both = (copy: SimulatedDisk): void => {
          cutTo(path, 0)(copy);
          if (disk.files().includes(beside)) cutTo(beside, 0)(copy);
        };
        expect([path, await opened(each, both, 0)]).toEqual([path, 'refused']);
      }
    }
  }, 300_000);

  it('refuses if a line is missing or repeated, or two lines are swapped', async () => {
    for (const path of journals(idle.disk)) {
      const count = idle.disk.textOf(path).split('\n').length - 1;
      for (let line = 0; line < count; line += 1) {
        const changes: Record<string, (lines: string[]) => string[]> = {
          missing: (lines) => lines.filter((_, index) => index !== line),
          twice: (lines) => lines.flatMap((text, index) => (index === line ? [text, text] : [text])),
          moved: (lines) => [
            ...lines.slice(0, line),
            ...lines.slice(line + 1, line + 2),
            lines[line] as string,
            ...lines.slice(line + 2),
          ],
          longer: (lines) => lines.map((text, index) => (index === line ? `${text} ` : text)),
        };
        for (const [what, change] of Object.entries(changes)) {
          await withSeed(`${path}, line ${line + 1} ${what}`, runSeed, () =>
            opened(idle, edit(path, change), 0),
          );
        }
      }
    }
  }, 300_000);

  it('refuses the files of one database in the folder of another', async () => {
    const move = (disk: SimulatedDisk): void => {
      const ours = dataFiles(disk).filter((path) => path.includes('shared'));
      const theirs = dataFiles(disk).filter((path) => path.includes('tenant'));
      for (const path of ours) {
        const other = theirs.find((each) => each.split('/').at(-1) === path.split('/').at(-1));
        if (other !== undefined) disk.replace(path, disk.contentOf(other));
      }
    };
    await opened(idle, move, 0);
  });

  it('cuts off bytes at the end that are no acknowledged line', async () => {
    const path = lastJournal(idle.disk, 'shared');
    for (const garbage of ['\0\0\0\0', 'x', '{', '{}\n', '{"n":1}\n', '\n', 'null\n']) {
      const append = (disk: SimulatedDisk): void =>
        disk.replace(path, Buffer.concat([disk.contentOf(path), Buffer.from(garbage)]));
      await withSeed(`appended ${JSON.stringify(garbage)}`, runSeed, () => opened(idle, append, 0));
    }
  });
});

function lastJournal(disk: SimulatedDisk, database: string): string {
  const path = journals(disk)
    .filter((each) => each.includes(database))
    .at(-1);
  if (path === undefined) throw new Error(`There is no journal of ${database}: ${disk.files().join(' ')}`);
  return path;
}

/** Where the last line that has a line feed begins, and where it ends. */
function lastLineOf(bytes: Uint8Array): { readonly from: number; readonly to: number } {
  const to = bytes.lastIndexOf(10) + 1;
  return { from: bytes.lastIndexOf(10, to - 2) + 1, to };
}
