/**
 * A process that works on streams: `streams-child.ts <url of Postgres, or directory> <role>`.
 *
 * - `fill`: writes until it is killed, a line for each acknowledgement (`owner 3 17`).
 * - `hold`: opens sessions on three streams, the last of which renews itself, writes an event in
 *   each, and says `held`. They last for ten seconds: long enough for others to be refused by a
 *   holder that stands still, on a busy machine too. Then each line of its standard input is
 *   `append <stream>` or `close <stream>`, and is answered by a line of JSON: what came of it, and
 *   whether the session's signal has been aborted.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { isStorageError, openStorage } from '@kvent/key-value-storage/core';
import { fillForever, Held, heldStreams, streamsOf } from './streams-work.js';

const [, , where = '', role = ''] = process.argv;
// at once and blocking: what a full pipe kept back would be lost with the process, and what was
// acknowledged with it
const say = (line: string): void => void writeSync(1, `${line}\n`);
const streams = streamsOf(await openStorage(await provider()));

if (role === 'fill') await fillForever(streams, (writer, append) => say(`${writer} ${append}`));
else await hold();

/** What is not needed is not loaded: a child starts in half the time. */
async function provider() {
  if (where.startsWith('postgres')) {
    const { PostgresProvider } = await import('@kvent/key-value-postgres');
    return new PostgresProvider({ url: where });
  }
  const { JsonFileProvider } =
    await import('../../libs/key-value-storage/src/providers/json-file/json-file-provider.js');
  return new JsonFileProvider({ directory: where });
}

async function hold(): Promise<void> {
  const held = streams.stream(Held);
  const open = async (id: string) =>
    [
      id,
      await held.openSession(id, {
        sessionTimeoutMs: 10_000,
        renewal: id === heldStreams[2] ? 'auto' : 'manual',
      }),
    ] as const;
  const sessions = new Map(await Promise.all(heldStreams.map(open)));
  const append = async (session: Awaited<ReturnType<typeof open>>[1] | undefined) =>
    await session?.append([{ type: 'entered', data: { token: session.fencingToken } }]);
  await Promise.all([...sessions.values()].map(append));
  say('held');
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, id = ''] = line.split(' ');
    const session = sessions.get(id);
    const outcome = await (verb === 'append' ? append(session) : session?.close())?.then(
      () => 'done',
      (error: unknown) => (isStorageError(error) ? error.code : String(error)),
    );
    say(JSON.stringify({ [line]: outcome, aborted: session?.signal.aborted }));
  }
}
