/**
 * What is stored decays: torn last lines of every length, flipped bits, lost files, lines that
 * moved. Either the provider refuses to start with `STORAGE_CORRUPT`, names file and line and
 * touches nothing, or it holds exactly what was acknowledged (the damage hit nothing that counts),
 * or the damaged lines are a tail that nothing says was acknowledged: then they are cut off with a
 * warning. Never anything else.
 */
import { beforeAll, describe, expect, it } from '@jest/globals';
import { isStorageError } from '../../libs/key-value-storage/src/core.js';
import { Machine } from './machine.js';
import { Scenario } from './scenario.js';
import { seededRandom, seedOfRun, withSeed } from './seeded-random.js';
import { sweep } from './sweep.js';
import { SimulatedDisk } from './simulated-disk.js';

const runSeed = seedOfRun();

/** What a damaged directory did: refused, or opened with all, or opened with less and a warning. */
type Verdict = 'refused' | 'whole' | 'cut off';

interface Image {
  readonly disk: SimulatedDisk;
  readonly scenario: Scenario;
}

/**
 * Files that hold rows, and what vouches for them; who owns the directory is told anew by each
 * process.
 */
const dataFiles = (disk: SimulatedDisk): readonly string[] =>
  disk.files().filter((path) => !/lock/.test(path));
const journals = (disk: SimulatedDisk): readonly string[] =>
  dataFiles(disk).filter((path) => /journal/.test(path) && disk.contentOf(path).length > 0);

/** Everything that was on the machine, by file. */
const contents = (disk: SimulatedDisk): Map<string, string> =>
  new Map(dataFiles(disk).map((path) => [path, Buffer.from(disk.contentOf(path)).toString('base64')]));

/**
 * Plays a few commits and ends the process as asked. `idle`: it had the time to say that all of it
 * is on disk.
 */
async function image(end: 'closed' | 'killed' | 'killed when idle', seed = runSeed): Promise<Image> {
  const machine = new Machine(new SimulatedDisk(seed));
  const scenario = new Scenario(machine, seed);
  await scenario.open();
  await scenario.commit('shared');
  await scenario.close();
  await scenario.open(); // so that there is a snapshot beside the journal
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
 * The image with a change, opened. `inDoubt`: how many of the last commits of each database nothing
 * vouches for.
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
  const again = scenario.on(machine, 1);
  try {
    await again.openDoubting(inDoubt);
  } catch (error) {
    if (!isStorageError(error, 'STORAGE_CORRUPT')) throw error;
    expect(error.place).toMatch(/\/data\/.+/);
    expect(error.effect).toBe('none');
    expect(contents(copy)).toEqual(before);
    return 'refused';
  }
  const lost = again.lost;
  if (lost > 0) expect(again.process.warnings.join('\n')).toMatch(/\/data\/.*journal/);
  await again.commit('shared');
  await again.close();
  const last = again.on(again.machine.afterPowerCut(2), 2);
  await last.open();
  await last.close();
  return lost > 0 ? 'cut off' : 'whole';
}

const flip = (path: string, at: number, bit: number) => (disk: SimulatedDisk) => {
  const bytes = disk.contentOf(path).slice();
  bytes[at] = (bytes[at] as number) ^ (1 << bit);
  disk.plant(path, bytes);
};

const cutTo = (path: string, length: number) => (disk: SimulatedDisk) =>
  disk.plant(path, disk.contentOf(path).slice(0, length));

const edit = (path: string, change: (lines: string[]) => string[]) => (disk: SimulatedDisk) => {
  const text = disk.textOf(path);
  const lines = text.split('\n').slice(0, -1);
  disk.plant(
    path,
    Buffer.from(
      change(lines)
        .map((line) => `${line}\n`)
        .join(''),
    ),
  );
};

/** How often each verdict was given. */
async function count(work: readonly (() => Promise<Verdict>)[]): Promise<Record<Verdict, number>> {
  const verdicts = { refused: 0, whole: 0, 'cut off': 0 };
  for (const each of work) verdicts[await each()] += 1;
  return verdicts;
}

describe(`the JSON file when its files are damaged (KVENT_SEED=${runSeed})`, () => {
  let killed: Image;
  let idle: Image;
  let closed: Image;

  beforeAll(async () => {
    killed = await image('killed');
    idle = await image('killed when idle');
    closed = await image('closed');
  });

  it('opens undamaged images as they are', async () => {
    for (const each of [killed, idle, closed]) expect(await opened(each, () => undefined, 0)).toBe('whole');
  });

  it('cuts a torn last line off, whatever its length, with a warning, and goes on', async () => {
    const path = lastJournal(killed.disk, 'shared');
    const text = killed.disk.textOf(path);
    const lastLine = text.lastIndexOf('\n', text.length - 2) + 1;
    const from = Buffer.byteLength(text.slice(0, lastLine));
    const to = killed.disk.contentOf(path).length;
    // cut exactly where the line begins, it leaves no trace: that is what a process that died a
    // little earlier would have left
    for (let length = from + 1; length < to; length += 1) {
      const verdict = await withSeed(`${path} torn at ${length} of ${to}`, runSeed, () =>
        opened(killed, cutTo(path, length), 1),
      );
      // without its line feed the last line is whole all the same, if the provider thinks so
      if (length < to - 1) expect([length, verdict]).toEqual([length, 'cut off']);
    }
  }, 300_000);

  it('cuts a last line off of which any part was never written (zeros)', async () => {
    const path = lastJournal(killed.disk, 'shared');
    const bytes = killed.disk.contentOf(path);
    const from = bytes.lastIndexOf(10, bytes.length - 2) + 1;
    for (const offset of sweep(2, runSeed, { end: bytes.length - from })) {
      const at = from + offset;
      const zeroed = (disk: SimulatedDisk): void => disk.plant(path, bytes.slice().fill(0, at));
      await withSeed(`${path} zeros from ${at}`, runSeed, () => opened(killed, zeroed, 1));
      const hole = (disk: SimulatedDisk): void => disk.plant(path, bytes.slice().fill(0, from, at));
      await withSeed(`${path} zeros from ${from} to ${at}`, runSeed, () => opened(killed, hole, 1));
    }
  }, 300_000);

  it('never answers wrong data after a bit was flipped, anywhere in any file: each fourth byte in a run, the seed says which', async () => {
    for (const [name, each, inDoubt] of [
      ['killed', killed, 1],
      ['idle', idle, 0],
      ['closed', closed, 0],
    ] as const) {
      const random = seededRandom(runSeed);
      const flips = dataFiles(each.disk).flatMap((path) => {
        const bytes = each.disk.contentOf(path);
        return [...sweep(4, random.below(2 ** 31), { end: bytes.length })].map((at) => {
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

  // What the newest journal lost at its end without a trace is what a process that died a little
  // earlier would have left: nobody can tell.
  it('refuses when a file is gone or cut short', async () => {
    for (const each of [idle, closed]) {
      const newest = [lastJournal(each.disk, 'shared'), lastJournal(each.disk, 'tenant')];
      for (const path of dataFiles(each.disk).filter((file) => !newest.includes(file))) {
        const bytes = each.disk.contentOf(path);
        expect([path, await opened(each, (disk) => disk.plant(path, undefined), 0)]).toEqual([
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

  it('refuses when any line feed before the end was damaged, whatever it became', async () => {
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

  it('refuses when a journal is emptied that is the first of its database or has a snapshot, alone or with that', async () => {
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

  it('refuses when a line is missing, twice there, or two lines changed places', async () => {
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

  it("refuses one database's files in the place of another's", async () => {
    const move = (disk: SimulatedDisk): void => {
      const ours = dataFiles(disk).filter((path) => path.includes('shared'));
      const theirs = dataFiles(disk).filter((path) => path.includes('tenant'));
      for (const path of ours) {
        const other = theirs.find((each) => each.split('/').at(-1) === path.split('/').at(-1));
        if (other !== undefined) disk.plant(path, disk.contentOf(other));
      }
    };
    await opened(idle, move, 0);
  });

  it('cuts off what was never acknowledged and is no line at all', async () => {
    const path = lastJournal(idle.disk, 'shared');
    for (const garbage of ['\0\0\0\0', 'x', '{', '{}\n', '{"n":1}\n', '\n', 'null\n']) {
      const append = (disk: SimulatedDisk): void =>
        disk.plant(path, Buffer.concat([disk.contentOf(path), Buffer.from(garbage)]));
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
