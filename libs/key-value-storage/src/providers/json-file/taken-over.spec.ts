import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import type { FileSystem } from './disk/file-system.js';
import { nodeFileSystem } from './disk/node-file-system.js';
import {
  batch,
  bench,
  commit,
  failed,
  failOn,
  killed,
  open,
  provider,
  put,
  read,
  text,
} from './spec-support.js';

/** The disk of a process that is suspended before its next write to a file of this name. */
function suspending() {
  let [suspend, resume] = [(): void => undefined, (): void => undefined];
  const suspended = new Promise<void>((resolve) => (suspend = resolve));
  const resumed = new Promise<void>((resolve) => (resume = resolve));
  const state = { before: undefined as string | undefined };
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: async (path, ...rest) => {
      const file = await nodeFileSystem.open(path, ...rest);
      const write = file.write.bind(file);
      file.write = async (bytes, position) => {
        if (state.before !== undefined && path.endsWith(state.before)) {
          state.before = undefined;
          suspend();
          await resumed;
        }
        return await write(bytes, position);
      };
      return file;
    },
  };
  return { fileSystem, state, suspended, resume };
}

it('an owner that was suspended changes nothing, also if the first successor could not open', async () => {
  const { fileSystem, state, suspended, resume } = suspending();
  const owner = await open({ fileSystem, openJournalsMax: 1 });
  await commit(owner, batch([put('a')]));
  // closes the journal of the first database, with an end mark
  await commit(owner, batch([put('a')], [], 'tenant:other'));
  state.before = join('tenant.acme', 'journal-1.jsonl');
  const late = commit(owner, batch([put('late')]));
  await suspended;
  failOn(/^create journal/, 'ENOSPC');
  await expect(provider({ processes: killed }).open()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  bench.disk.fail = () => undefined;
  const successor = await open({ processes: killed });
  await commit(successor, batch([put('a', '2')]));
  resume();
  expect(failed(await late)).toMatchObject({ code: 'STORAGE_OUTCOME_UNKNOWN' });
  await commit(successor, batch([put('b')]));
  await successor.close();
  const next = await open();
  expect([text(await read(next, 'a')), text(await read(next, 'b'))]).toEqual(['2', '1']);
  expect(await read(next, 'late')).toBeUndefined();
});
