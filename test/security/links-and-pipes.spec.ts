/**
 * An attacker creates links and FIFOs in the folder of a JSON file store. When its owner opens,
 * copies, backs up or salvages the store, the target of a link keeps every file, and no call waits
 * for a FIFO.
 */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import {
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
  type FileHandle,
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
import { until } from '../postgres/until.js';
import { build } from '../packaging/build.js';

const Notes = defineState<{ text: string }>('note');

beforeAll(build);

/** A store with one row of acme, and a folder beside it that must not change. */
class StoreFolder implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async create(): Promise<StoreFolder> {
    const store = new StoreFolder(await mkdtemp(join(tmpdir(), 'kvent-links-')));
    await mkdir(join(store.victim, 'inside'), { recursive: true });
    await writeFile(join(store.victim, 'inside/keep.txt'), 'kept');
    await writeFile(join(store.victim, 'journal-1.jsonl'), 'kept');
    await using storage = await openStorage(new JsonFileProvider({ directory: store.data }), {
      tenant: 'acme',
    });
    await storage.store(Notes).set('n', { text: 'stored' });
    return store;
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

/** Opens a FIFO when it has a reader. */
async function writerOf(fifo: string): Promise<FileHandle> {
  let writer: FileHandle | undefined;
  await until(`${fifo} has a reader`, async () => {
    writer = await open(fifo, constants.O_WRONLY | constants.O_NONBLOCK).catch(() => undefined);
    return writer !== undefined;
  });
  return writer as FileHandle;
}

type Operation = readonly [name: string, run: (store: StoreFolder) => Promise<unknown>];

const operations: readonly Operation[] = [
  ['open', ({ data }) => opened(data)],
  ['copy', ({ data, folder }) => kvent(['copy', '--from', data, '--to', join(folder, 'copy')], folder)],
  [
    'backup',
    ({ data, folder }) => kvent(['backup', '--from', data, '--to', join(folder, 'backup.gz')], folder),
  ],
  ['salvage', ({ data, folder }) => salvageJsonFile(data, join(folder, 'salvaged'))],
];

/** Names of temporary files of the provider, and of its files and databases. */
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

describe.each(operations)('The operation %s', (name, run) => {
  // For the commands, two names are enough: each needs a process.
  const isCommand = name === 'copy' || name === 'backup';
  it.each(isCommand ? ['.dropped-0123456789abcdef-x', 'tenant.globex'] : names)(
    'keeps every file behind the link %s',
    async (link) => {
      await using store = await StoreFolder.create();
      await symlink(store.victim, join(store.data, link));
      const before = await treeOf(store.victim);
      await Promise.allSettled([run(store)]);
      expect(await treeOf(store.victim)).toEqual(before);
    },
  );

  it.each(['.lock.json', '.kvent.json', 'tenant.acme/journal-1.jsonl'])(
    'does not wait for a FIFO as %s',
    async (file) => {
      await using store = await StoreFolder.create();
      await rm(join(store.data, file), { force: true });
      await promisify(execFile)('mkfifo', [join(store.data, file)]);
      const [outcome] = await Promise.allSettled([run(store)]);
      // A salvage reads what it can, and reports the rest.
      if (name !== 'salvage') expect(outcome).toMatchObject({ status: 'rejected' });
    },
  );
});

describe('A backup', () => {
  it('that is a FIFO is refused at once', async () => {
    await using store = await StoreFolder.create();
    await promisify(execFile)('mkfifo', [join(store.folder, 'backup.gz')]);
    const restoring = kvent(
      ['restore', '--from', join(store.folder, 'backup.gz'), '--to', join(store.folder, 'restored')],
      store.folder,
    );
    await expect(restoring).rejects.toThrow('must be a plain file');
  });
});

describe('An import', () => {
  it('that waits for a FIFO ends with a signal, also when it has read an entry', async () => {
    await using store = await StoreFolder.create();
    const fifo = join(store.folder, 'notes.jsonl');
    await promisify(execFile)('mkfifo', [fifo]);
    for (const written of ['', '{"key":"m","value":{"text":"new"}}\n']) {
      const args = ['import', store.data, 'note', fifo, '--tenant', 'acme', '--write'];
      await using importing = new KventProcess(args, store.folder);
      await using writer = await writerOf(fifo);
      await writer.write(written);
      expect(await importing.kill('SIGTERM')).toMatchObject({ code: 143, stdout: '' });
    }
  });
});

describe('A source', () => {
  it.each(operations.slice(1, 3))(
    'is unchanged after %s, name by name and byte by byte',
    async (_name, run) => {
      await using store = await StoreFolder.create();
      for (const link of names.filter((each) => each.startsWith('.')))
        await symlink(store.victim, join(store.data, link));
      const before = await treeOf(store.data);
      await run(store);
      expect(await treeOf(store.data)).toEqual(before);
    },
  );

  it('with a link instead of the folder of a database is refused, also if the target is one', async () => {
    await using store = await StoreFolder.create();
    await rename(join(store.data, 'tenant.acme'), join(store.folder, 'elsewhere'));
    await symlink(join(store.folder, 'elsewhere'), join(store.data, 'tenant.acme'));
    const error: unknown = await opened(store.data).catch((thrown: unknown) => thrown);
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

/** Every path below a folder with its kind, permissions and content. */
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
