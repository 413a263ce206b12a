/**
 * Somebody plants links and FIFOs in the folder of a JSON file store. Whatever its owner then does
 * (opens the store, copies it, backs it up, salvages it), the folder that a link leads to keeps
 * every file, and nothing waits for a FIFO.
 */
import { execFile } from 'node:child_process';
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import {
  defineState,
  isStorageError,
  JsonFileProvider,
  openStorage,
  salvageJsonFile,
} from '@kvent/key-value-storage';
import { KventProcess } from '../cli/kvent.js';
import { build } from '../packaging/build.js';

const Notes = defineState<{ text: string }>('note');

beforeAll(build);

/** A store with one row of acme, and beside it a folder that is none of its business. */
class Place implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async make(): Promise<Place> {
    const place = new Place(await mkdtemp(join(tmpdir(), 'kvent-links-')));
    await mkdir(join(place.victim, 'inside'), { recursive: true });
    await writeFile(join(place.victim, 'inside/keep.txt'), 'kept');
    await writeFile(join(place.victim, 'journal-1.jsonl'), 'kept');
    await using storage = await openStorage(new JsonFileProvider({ directory: place.data }), {
      tenant: 'acme',
    });
    await storage.store(Notes).set('n', { text: 'stored' });
    return place;
  }
  get data(): string {
    return join(this.folder, 'data');
  }
  get victim(): string {
    return join(this.folder, 'victim');
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

type Deed = readonly [name: string, run: (place: Place) => Promise<unknown>];

const deeds: readonly Deed[] = [
  ['opens the store', ({ data }) => opened(data)],
  ['copies it', ({ data, folder }) => kvent(['copy', '--from', data, '--to', join(folder, 'copy')], folder)],
  [
    'backs it up',
    ({ data, folder }) => kvent(['backup', '--from', data, '--to', join(folder, 'backup.gz')], folder),
  ],
  ['salvages it', ({ data, folder }) => salvageJsonFile(data, join(folder, 'salvaged'))],
];

/**
 * Names that the provider gives to what it is about to remove or replace, and those of its own
 * files and databases.
 */
const names = [
  '.dropped-0123456789abcdef-x',
  '.new-0123456789abcdef-x',
  '.lock-0123456789abcdef',
  '.kvent.json.tmp',
  'journal-9.jsonl.tmp',
  'tenant.globex',
  'tenant.acme/snapshot-9.json',
  'tenant.acme/snapshot-9.json.tmp',
];

describe.each(deeds)('Whoever %s', (name, run) => {
  // a process of its own for each link would prove nothing more
  const isCommand = name === 'copies it' || name === 'backs it up';
  it.each(isCommand ? ['.dropped-0123456789abcdef-x', 'tenant.globex'] : names)(
    'keeps every file behind the link %s',
    async (link) => {
      await using place = await Place.make();
      await symlink(place.victim, join(place.data, link));
      const before = await treeOf(place.victim);
      await Promise.allSettled([run(place)]);
      expect(await treeOf(place.victim)).toEqual(before);
    },
  );

  it.each(['.lock.json', '.kvent.json', 'tenant.acme/journal-1.jsonl'])(
    'does not wait for a FIFO as %s',
    async (file) => {
      await using place = await Place.make();
      await rm(join(place.data, file), { force: true });
      await promisify(execFile)('mkfifo', [join(place.data, file)]);
      const [outcome] = await Promise.allSettled([run(place)]);
      // a salvage reads what it can, and names the rest
      if (name !== 'salvages it') expect(outcome).toMatchObject({ status: 'rejected' });
    },
  );
});

describe('A backup', () => {
  it('that is a FIFO is refused at once', async () => {
    await using place = await Place.make();
    await promisify(execFile)('mkfifo', [join(place.folder, 'backup.gz')]);
    const restoring = kvent(
      ['restore', '--from', join(place.folder, 'backup.gz'), '--to', join(place.folder, 'restored')],
      place.folder,
    );
    await expect(restoring).rejects.toThrow('must be a plain file');
  });
});

describe('A source', () => {
  it.each(deeds.slice(1, 3))(
    'of whoever %s is the same afterwards, name by name and byte by byte',
    async (_name, run) => {
      await using place = await Place.make();
      for (const link of names.filter((each) => each.startsWith('.')))
        await symlink(place.victim, join(place.data, link));
      const before = await treeOf(place.data);
      await run(place);
      expect(await treeOf(place.data)).toEqual(before);
    },
  );

  it('of a link in the place of a database is refused, also when it leads to a real one', async () => {
    await using place = await Place.make();
    await rename(join(place.data, 'tenant.acme'), join(place.folder, 'elsewhere'));
    await symlink(join(place.folder, 'elsewhere'), join(place.data, 'tenant.acme'));
    const error: unknown = await opened(place.data).catch((thrown: unknown) => thrown);
    expect(isStorageError(error, 'STORAGE_CORRUPT')).toBe(true);
  });
});

async function opened(directory: string): Promise<void> {
  await using storage = await openStorage(new JsonFileProvider({ directory }), { tenant: 'acme' });
  await storage.store(Notes).get('n');
}

async function kvent(args: readonly string[], cwd: string): Promise<void> {
  await using command = new KventProcess(args, cwd);
  const { code, stderr } = await command.exit;
  if (code !== 0) throw new Error(stderr);
}

/** Every name below a folder with its kind, its permissions and what is in it. */
async function treeOf(folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const path = join(folder, name);
    const stats = await lstat(path);
    const content = stats.isFile()
      ? await readFile(path, 'utf8')
      : stats.isSymbolicLink()
        ? await readlink(path)
        : '';
    found.push(`${name} ${stats.mode.toString(8)} ${content}`);
  }
  return found;
}
