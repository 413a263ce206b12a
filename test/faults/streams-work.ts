/**
 * The work of several processes on streams, and what must be true of the streams at any moment.
 *
 * - They count together on one stream by `transact`: versions are 1, 2, 3 …, and each event counts
 *   one more than the event before.
 * - They hold one stream by sessions, and append twice in each: the events of one holder are
 *   together, and later holders have larger tokens.
 * - They append a hundred events at once until they are killed: a hundred are stored, or none.
 */
import { defineStream, event, EventStore, type EventOf, type EventStream } from '@kvent/event-store/core';
import { isStorageError, type KeyValueStorage } from '@kvent/key-value-storage/core';

export const Count = defineStream('count', {
  events: { counted: event<{ process: number; caller: number; n: number }>() },
  initial: () => 0,
  evolve: (_, { data: { n } }) => n,
  snapshot: { every: 25 },
});
export const Held = defineStream('held', {
  events: { entered: event<{ token: bigint }>(), left: event<{ token: bigint }>() },
  initial: () => 0,
  evolve: (events) => events + 1,
});

/** The streams held by a process that will be paused. */
export const heldStreams = ['followed', 'alone', 'renewed'] as const;

/** Enough attempts for any number of conflicts: only the stored events matter. */
const manyAttempts = { attempts: 10_000, budgetMs: 120_000 };

export async function countTogether(
  streams: EventStore,
  process: number,
  callers: number,
  rounds: number,
): Promise<void> {
  const counts = streams.stream(Count);
  const caller = async (number: number): Promise<void> => {
    for (let round = 0; round < rounds; round += 1)
      await counts.transact(
        'hot',
        (n) => [{ type: 'counted', data: { process, caller: number, n: n + 1 } }],
        { retry: manyAttempts },
      );
  };
  await Promise.all(Array.from({ length: callers }, (_, number) => caller(number)));
}

/** The faults of the stream that all have counted on. */
export async function countFaults(streams: EventStore, expected: number): Promise<readonly string[]> {
  const wrong: string[] = [];
  let events = 0;
  for await (const { version, data } of streams.stream(Count).read('hot')) {
    events += 1;
    if (version !== events || data.n !== version)
      wrong.push(`event ${events} has version ${version} and counts ${data.n}`);
  }
  const { state, version } = await streams.stream(Count).load('hot');
  if (events !== expected || state !== expected || version !== expected)
    wrong.push(
      `expected ${expected}; there are ${events} events, version ${version}, and the count is ${state}`,
    );
  return wrong;
}

export const holders = 3;
export const sessionsEach = 5;

export async function holdInSessions(streams: EventStore): Promise<void> {
  const held = streams.stream(Held);
  const caller = async (): Promise<void> => {
    for (let session = 0; session < sessionsEach; session += 1) {
      await held.session(
        'hot',
        async (session) => {
          const token = session.fencingToken;
          await session.append([{ type: 'entered', data: { token } }]);
          await session.append([{ type: 'left', data: { token } }]);
        },
        { openTimeoutMs: 120_000 },
      );
    }
  };
  await Promise.all(Array.from({ length: holders }, caller));
}

/** The faults of the stream that they held one after the other. */
export async function holdFaults(streams: EventStore, expected: number): Promise<readonly string[]> {
  const wrong: string[] = [];
  let [events, token] = [0, 0n];
  for await (const { type, version, data } of streams.stream(Held).read('hot')) {
    events += 1;
    const enters = version % 2 === 1;
    if (type !== (enters ? 'entered' : 'left')) wrong.push(`${type} at version ${version}`);
    if (enters ? data.token <= token : data.token !== token)
      wrong.push(`token ${data.token} at version ${version}, after ${token}`);
    token = data.token;
  }
  if (events !== expected) wrong.push(`${expected} events were written, there are ${events}`);
  return wrong;
}

// Appends of a hundred events

export const eventsPerAppend = 100;
const appenders = 2;
const transactors = 2;

/** State: the last append of each writer. */
export const Filling = defineStream('filling', {
  events: { filled: event<{ writer: string; append: number; index: number }>() },
  initial: (): Readonly<Record<string, number>> => ({}),
  evolve: (last, { data: { writer, append, index } }) =>
    index === eventsPerAppend - 1 ? { ...last, [writer]: append } : last,
  snapshot: { every: 10 * eventsPerAppend },
});
type Filled = EventOf<typeof Filling>;

export const writers: readonly { readonly stream: string; readonly writer: string }[] = [
  ...Array.from({ length: appenders }, (_, number) => ({
    stream: `own ${number}`,
    writer: `appender ${number}`,
  })),
  ...Array.from({ length: transactors }, (_, number) => ({
    stream: 'shared',
    writer: `transactor ${number}`,
  })),
  { stream: 'held', writer: 'holder' },
];

const hundred = (writer: string, append: number): readonly Filled[] =>
  Array.from(
    { length: eventsPerAppend },
    (_, index) => ({ type: 'filled', data: { writer, append, index } }) as const,
  );

/** Writes until the process is killed, and reports what was acknowledged. */
export async function fillForever(
  streams: EventStore,
  acknowledge: (writer: string, append: number) => void,
): Promise<void> {
  const filling = streams.stream(Filling);
  await Promise.all(
    writers.map(async ({ stream, writer }) => {
      if (writer.startsWith('appender')) return await fillAlone(filling, stream, writer, acknowledge);
      if (writer === 'holder') return await fillHeld(filling, stream, writer, acknowledge);
      for (;;) {
        const { state } = await filling.transact(stream, (last) => hundred(writer, (last[writer] ?? 0) + 1), {
          retry: manyAttempts,
        });
        acknowledge(writer, state[writer] as number);
      }
    }),
  );
}

type Fill = (
  filling: EventStream<typeof Filling>,
  stream: string,
  writer: string,
  acknowledge: Acknowledge,
) => Promise<void>;
type Acknowledge = (writer: string, append: number) => void;

const fillAlone: Fill = async (filling, stream, writer, acknowledge) => {
  for (;;) {
    const { state, version } = await filling.load(stream);
    for (let [append, at] = [(state[writer] ?? 0) + 1, version]; ; append += 1, at += eventsPerAppend) {
      try {
        await filling.append(stream, hundred(writer, append), { expectedVersion: at });
      } catch (error) {
        // a commit that the previous process had in flight was done
        if (isStorageError(error, 'STREAM_VERSION_MISMATCH')) break;
        throw error;
      }
      acknowledge(writer, append);
    }
  }
};

/**
 * The previous process was killed while it held the stream; its lock expires soon. So does the lock
 * of this process when the machine pauses for as long; then it opens a new session.
 */
const fillHeld: Fill = async (filling, stream, writer, acknowledge) => {
  for (;;) {
    await using session = await filling.openSession(stream, {
      sessionTimeoutMs: 500,
      openTimeoutMs: 120_000,
      renewal: 'auto',
    });
    try {
      for (;;) {
        const append = (session.state[writer] ?? 0) + 1;
        await session.append(hundred(writer, append));
        acknowledge(writer, append);
      }
    } catch (error) {
      if (!isStorageError(error, 'SESSION_EXPIRED') && !isStorageError(error, 'SESSION_LOST')) throw error;
    }
  }
};

/** What was read of the streams: their versions, and the last append of each writer. */
export interface Seen {
  readonly versions: Map<string, number>;
  readonly appends: Map<string, number>;
}
export const nothingSeen = (): Seen => ({
  versions: new Map(writers.map(({ stream }) => [stream, 0])),
  appends: new Map(writers.map(({ writer }) => [writer, 0])),
});

/**
 * Reads the events since; throws for an append that is incomplete, out of order or stored twice.
 */
export async function verify(streams: EventStore, { versions, appends }: Seen): Promise<void> {
  const filling = streams.stream(Filling);
  for (const [stream, known] of versions) {
    let count = known;
    let first: Filled['data'] | undefined;
    for await (const { version, data } of filling.read(stream, { from: known + 1 })) {
      const { writer, append, index } = data;
      if (index === 0) {
        const last = appends.get(writer) ?? 0;
        if (append !== last + 1) throw new Error(`${writer} at ${append} in '${stream}', after ${last}.`);
        appends.set(writer, append);
        first = data;
      }
      if (
        version !== count + 1 ||
        index !== count % eventsPerAppend ||
        writer !== first?.writer ||
        append !== first.append
      )
        throw new Error(
          `Event ${version} of '${stream}' is ${index} of append ${append} of ${writer}: a part of an append.`,
        );
      count += 1;
    }
    const { version, state } = await filling.load(stream);
    if (version !== count || count % eventsPerAppend !== 0)
      throw new Error(`'${stream}' has ${count} events, and version ${version}.`);
    for (const [writer, append] of Object.entries(state))
      if (appends.get(writer) !== append)
        throw new Error(
          `${writer} is at ${append} by the state of '${stream}', not at ${appends.get(writer)}.`,
        );
    versions.set(stream, version);
  }
}

export const streamsOf = (storage: KeyValueStorage): EventStore => new EventStore(storage);
