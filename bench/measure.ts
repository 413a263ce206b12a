/**
 * Rounds in which everybody has a turn, one after the other, in an order that rotates: what
 * disturbs the machine for a while disturbs all of them alike. A turn is a number of callers who
 * call again as soon as they are answered, until the time is over.
 */
import type { Operation } from './contender.js';
import type { Round } from './statistics.js';

export interface Turn {
  readonly callers: number;
  readonly ms: number;
}

/**
 * Calls quicker than this are timed one in `sampledEvery`, for reading the clock costs a tenth of a
 * microsecond.
 */
const quickUs = 50;
const sampledEvery = 16;

/** The rounds of each operation, in the order given. One turn each goes before, uncounted. */
export async function measure(
  operations: readonly Operation[],
  turn: Turn,
  rounds: number,
): Promise<readonly (readonly Round[])[]> {
  const results: Round[][] = operations.map(() => []);
  const every: number[] = [];
  const next = operations.map(() => 0);
  const take = async (index: number, sampled: number): Promise<Round> => {
    const { round, calls } = await takeTurn(
      operations[index] as Operation,
      turn,
      sampled,
      next[index] as number,
    );
    next[index] = (next[index] as number) + calls;
    return round;
  };
  for (const index of operations.keys()) {
    const { callsPerSecond } = await take(index, 1);
    every[index] = (turn.callers * 1e6) / callsPerSecond < quickUs ? sampledEvery : 1;
  }
  for (let round = 0; round < rounds; round += 1) {
    for (let place = 0; place < operations.length; place += 1) {
      const index = (place + round) % operations.length;
      results[index]?.push(await take(index, every[index] as number));
    }
  }
  return results;
}

async function takeTurn(
  operation: Operation,
  { callers, ms }: Turn,
  every: number,
  from: number,
): Promise<{ round: Round; calls: number }> {
  const latenciesUs: number[] = [];
  const beginning = performance.now();
  const end = beginning + ms;
  let call = from;
  const callAgain = async (): Promise<void> => {
    // at least once: a machine that is busy elsewhere may let a whole turn pass
    do {
      const asked = performance.now();
      const timed = operation(call++);
      if (timed instanceof Promise) await timed;
      latenciesUs.push((performance.now() - asked) * 1_000);
      for (let untimed = 1; untimed < every; untimed += 1) {
        const answer = operation(call++);
        if (answer instanceof Promise) await answer;
      }
    } while (performance.now() < end);
  };
  await Promise.all(Array.from({ length: callers }, callAgain));
  const calls = call - from;
  return { round: { callsPerSecond: (calls * 1_000) / (performance.now() - beginning), latenciesUs }, calls };
}
