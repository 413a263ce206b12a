/**
 * In each round every contender has one measuring window, in rotating order, so that a disturbance
 * of the machine affects all contenders alike. In a window, a number of callers call again as soon
 * as their call has returned, until the time is over.
 */
import type { Operation } from './contender.js';
import type { Round } from './statistics.js';

export interface Window {
  readonly callers: number;
  readonly ms: number;
}

/**
 * Of calls that are faster than this, one in `sampledEvery` is timed, because reading the clock
 * costs a tenth of a microsecond.
 */
const sampledBelowUs = 50;
const sampledEvery = 16;

/** The rounds of each operation, in the given order. One warm-up window each is not counted. */
export async function measure(
  operations: readonly Operation[],
  window: Window,
  rounds: number,
): Promise<readonly (readonly Round[])[]> {
  const results: Round[][] = operations.map(() => []);
  const every: number[] = [];
  const next = operations.map(() => 0);
  const run = async (index: number, sampled: number): Promise<Round> => {
    const { round, calls } = await runWindow(
      operations[index] as Operation,
      window,
      sampled,
      next[index] as number,
    );
    next[index] = (next[index] as number) + calls;
    return round;
  };
  for (const index of operations.keys()) {
    const { callsPerSecond } = await run(index, 1);
    every[index] = (window.callers * 1e6) / callsPerSecond < sampledBelowUs ? sampledEvery : 1;
  }
  for (let round = 0; round < rounds; round += 1) {
    for (let position = 0; position < operations.length; position += 1) {
      const index = (position + round) % operations.length;
      results[index]?.push(await run(index, every[index] as number));
    }
  }
  return results;
}

async function runWindow(
  operation: Operation,
  { callers, ms }: Window,
  every: number,
  from: number,
): Promise<{ round: Round; calls: number }> {
  const latenciesUs: number[] = [];
  const start = performance.now();
  const end = start + ms;
  let call = from;
  const callRepeatedly = async (): Promise<void> => {
    // At least once: on a busy machine a whole window may pass before the first call.
    do {
      const startedAt = performance.now();
      const result = operation(call++);
      if (result instanceof Promise) await result;
      latenciesUs.push((performance.now() - startedAt) * 1_000);
      for (let untimed = 1; untimed < every; untimed += 1) {
        const untimedResult = operation(call++);
        if (untimedResult instanceof Promise) await untimedResult;
      }
    } while (performance.now() < end);
  };
  await Promise.all(Array.from({ length: callers }, callRepeatedly));
  const calls = call - from;
  return { round: { callsPerSecond: (calls * 1_000) / (performance.now() - start), latenciesUs }, calls };
}
