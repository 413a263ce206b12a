/**
 * Figures from samples. A shared machine disturbs single rounds, so what is said is the median over
 * rounds, and ratios are taken round by round.
 */

/** What one contender did in one round. Latencies are microseconds of single calls, sampled. */
export interface Round {
  readonly callsPerSecond: number;
  readonly latenciesUs: readonly number[];
}

export interface Summary {
  readonly callsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** How many times the calls per second of the reference, which ran in the same round. */
  readonly ratio: number;
  /** The quartiles of the ratios: how much to believe of it. */
  readonly ratioQuartiles: readonly [number, number];
  /**
   * Rounds in which less than half of what is usual was done: a disk or a machine that was busy
   * elsewhere.
   */
  readonly stalls: number;
}

/**
 * The value below which a part of the samples lies, `fraction` from 0 to 1: the nearest rank,
 * always one of the samples.
 */
export function percentile(samples: readonly number[], fraction: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = Float64Array.from(samples).sort();
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] as number;
}

/** The middle one; of an even number of samples the mean of the two in the middle. */
export function median(samples: readonly number[]): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = Float64Array.from(samples).sort();
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

/** Medians over rounds; the n-th round of both ran side by side. */
export function summarize(rounds: readonly Round[], reference: readonly Round[]): Summary {
  const ratios = rounds.map(
    (round, index) => round.callsPerSecond / (reference[index]?.callsPerSecond ?? Number.NaN),
  );
  const callsPerSecond = median(rounds.map((round) => round.callsPerSecond));
  return {
    callsPerSecond,
    p50Us: median(rounds.map((round) => percentile(round.latenciesUs, 0.5))),
    p99Us: median(rounds.map((round) => percentile(round.latenciesUs, 0.99))),
    ratio: median(ratios),
    ratioQuartiles: [percentile(ratios, 0.25), percentile(ratios, 0.75)],
    stalls: rounds.filter((round) => round.callsPerSecond < callsPerSecond / 2).length,
  };
}
