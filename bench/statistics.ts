/**
 * Figures from samples. A shared machine disturbs single rounds, so the figures are medians over
 * the rounds, and ratios are computed per round.
 */

/** The result of one contender in one round. Latencies are those of sampled single calls. */
export interface Round {
  readonly callsPerSecond: number;
  readonly latenciesUs: readonly number[];
}

export interface Summary {
  readonly callsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Calls per second as a multiple of the reference's, in the same round. */
  readonly ratio: number;
  /** The quartiles of the ratios: how reliable the ratio is. */
  readonly ratioQuartiles: readonly [number, number];
  /**
   * Number of rounds with less than half of the median: the disk or the machine was busy with other
   * work.
   */
  readonly stalls: number;
}

/**
 * The value below which a part of the samples lies, `fraction` from 0 to 1. Nearest rank: always
 * one of the samples.
 */
export function percentile(samples: readonly number[], fraction: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = Float64Array.from(samples).sort();
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] as number;
}

/** The middle sample; of an even number of samples, the mean of the two in the middle. */
export function median(samples: readonly number[]): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = Float64Array.from(samples).sort();
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

/** Medians over the rounds; the n-th rounds of both arguments ran together. */
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
