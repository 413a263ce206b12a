/**
 * A process that works on streams: `streams-child.ts <url of Postgres, or directory> <role>`.
 *
 * - `fill`: writes until it is killed, and prints a line for each acknowledgement (`appender 1
 *   17`).
 * - `hold`: opens sessions on three streams, the last with automatic renewal, appends an event in
 *   each, and prints `held`. Their timeout is ten seconds, so that others are refused while this
 *   process is paused, on a busy machine too. Then each line of its standard input is `append
 *   <stream>` or `close <stream>`; it prints the outcome as a line of JSON, with whether the signal
 *   of the session is aborted.
 * - `react <folder>`: handles all events of a reaction, prints a line for each, then `done`. `react
 *   <folder> asleep`: it prints the line of the first event and stops itself (SIGSTOP) in its
 *   handler. It prints the id of an effect that was there before, and `caught up` as `project`.
 * - `project`: runs the projection of `projections-work.ts` until it is killed, and prints
 *   `running`. `project asleep`: it prints `folded` and stops itself (SIGSTOP) before it commits
 *   its first page. For each line of its standard input it prints `caught up` when it is.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { ProjectionRunner } from '@kvent/event-store/core';
import { isStorageError, openStorage } from '@kvent/key-value-storage/core';
import { fillForever, Held, heldStreams, streamsOf } from './streams-work.js';

const [, , where = '', role = '', ...more] = process.argv;
// synchronous, so that no acknowledgement is lost in a buffer when the process is killed
const print = (line: string): void => void writeSync(1, `${line}\n`);
if (role === 'react') {
  await (more[1] === 'asleep' ? reactAsleep() : react());
  process.exit();
}

if (role === 'project') await project();
else {
  const streams = streamsOf(await openStorage(await provider()));
  if (role === 'fill') await fillForever(streams, (writer, append) => print(`${writer} ${append}`));
  else await hold(streams);
}

/** Loads only the provider that it needs, to start in half the time. */
async function provider() {
  if (where.startsWith('postgres')) {
    const { PostgresProvider } = await import('@kvent/key-value-postgres');
    return new PostgresProvider({ url: where });
  }
  const { JsonFileProvider } =
    await import('../../libs/key-value-storage/src/providers/json-file/json-file-provider.js');
  return new JsonFileProvider({ directory: where });
}

async function react(): Promise<void> {
  const { deliveries, openParcels } = await import('./reaction-work.js');
  await using storage = await openParcels(await provider());
  const runner = deliveries(storage, more[0] ?? '', print);
  await runner.start();
  await runner.whenCaughtUp({ timeoutMs: 600_000 });
  await runner.stop();
  print('done');
}

async function reactAsleep(): Promise<void> {
  const { deliveries, openParcels } = await import('./reaction-work.js');
  await using storage = await openParcels(await provider());
  const began = sleepingOnce((line: string) => line);
  const runner = deliveries(storage, more[0] ?? '', began, print);
  await runner.start();
  await catchUpForEachLine(runner);
}

async function project(): Promise<void> {
  const { ProjectionRunner } = await import('@kvent/event-store/core');
  const { openAt, runnerOptions, totalsByProduct } = await import('./projections-work.js');
  const storage = await openAt(where);
  const folded = more[0] === 'asleep' ? sleepingOnce(() => 'folded') : undefined;
  const runner = new ProjectionRunner(storage, totalsByProduct(folded), runnerOptions);
  await runner.start();
  print('running');
  await catchUpForEachLine(runner);
}

/** At the first call it prints a line, and stops this process. */
function sleepingOnce<A extends readonly unknown[]>(line: (...args: A) => string): (...args: A) => void {
  let isAwake = false;
  return (...args) => {
    if (isAwake) return;
    isAwake = true;
    print(line(...args));
    process.kill(process.pid, 'SIGSTOP');
  };
}

async function catchUpForEachLine(runner: Pick<ProjectionRunner, 'whenCaughtUp'>): Promise<void> {
  for await (const _ of createInterface({ input: process.stdin })) {
    await runner.whenCaughtUp({ timeoutMs: 600_000 });
    print('caught up');
  }
}

async function hold(streams: ReturnType<typeof streamsOf>): Promise<void> {
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
  print('held');
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, id = ''] = line.split(' ');
    const session = sessions.get(id);
    const outcome = await (verb === 'append' ? append(session) : session?.close())?.then(
      () => 'done',
      (error: unknown) => (isStorageError(error) ? error.code : String(error)),
    );
    print(JSON.stringify({ [line]: outcome, aborted: session?.signal.aborted }));
  }
}
