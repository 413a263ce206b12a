/**
 * The readable results: one table per work, the best contender first, with the traits of each
 * contender.
 */
import type { SuiteResult, WorkResult } from './run-suite.js';
import { titleOf } from './suite.js';

const heading = ['', 'calls/s', 'p50 µs', 'p99 µs', '×', 'quartiles', 'survives', 'compares', 'returns'];

export function tableOf(
  result: WorkResult,
  contenders: SuiteResult['contenders'],
  ours: readonly string[],
): string {
  const { reference, note, rows } = result;
  const lines = rows
    .toSorted((one, other) => other.ratio - one.ratio)
    .map((row) => {
      const traits = contenders.find(({ name }) => name === row.contender);
      return [
        row.contender,
        Math.round(row.callsPerSecond).toLocaleString('en'),
        microseconds(row.p50Us),
        microseconds(row.p99Us),
        row.ratio.toPrecision(3),
        row.ratioQuartiles.map((ratio) => ratio.toPrecision(3)).join('–'),
        traits?.survives ?? '',
        traits?.comparesAndSets === true ? 'yes' : 'no',
        traits?.returns ?? '',
      ];
    });
  const title = `${titleOf(result)}${note === undefined ? '' : ` (${note})`}; × ${reference}`;
  const remarks = [
    ...aimsOf(result, ours),
    ...likeForLikeOf(result, ours),
    ...contentionOf(result),
    ...stallsOf(result),
  ];
  return [title, ...[...columns([heading, ...lines]), ...remarks].map((line) => `  ${line}`), ''].join('\n');
}

/** Notes on the contenders, printed once below all tables. */
export function legendOf(contenders: SuiteResult['contenders']): string {
  const notes = contenders
    .filter(({ note }) => note !== undefined)
    .map(({ name, note }) => `  ${name}: ${note}`);
  return [
    '× calls per second of the reference, median and quartiles of the rounds; p50 and p99 of sampled calls, medians of the rounds.',
    'survives: what an acknowledged write survives. compares: whether a write can depend on the version that was read. returns: what a read returns.',
    ...notes,
    '',
  ].join('\n');
}

function aimsOf({ aim, rows }: WorkResult, ours: readonly string[]): readonly string[] {
  if (aim === undefined) return [];
  return rows
    .filter(({ contender }) => ours.includes(contender))
    .map(
      ({ contender, ratio }) =>
        `aim: ≥ ${aim} ×, ${ratio >= aim ? 'reached' : 'MISSED'} by ${contender} with ${ratio.toPrecision(3)} ×`,
    );
}

function likeForLikeOf({ likeForLike, rows }: WorkResult, ours: readonly string[]): readonly string[] {
  const other = rows.find(({ contender }) => contender === likeForLike);
  if (other === undefined) return [];
  return rows
    .filter(({ contender }) => ours.includes(contender))
    .map(
      ({ contender, ratio }) =>
        `like for like (ids, metadata, times): ${contender} ${(ratio / other.ratio).toPrecision(3)} × ${other.contender}`,
    );
}

function contentionOf({ rows }: WorkResult): readonly string[] {
  return rows.flatMap(({ contender, conflictsPerCall }) =>
    conflictsPerCall === undefined
      ? []
      : [`conflicts: ${contender} ${conflictsPerCall.toFixed(2)} per update`],
  );
}

function stallsOf({ rows }: WorkResult): readonly string[] {
  return rows.flatMap(({ contender, stalls }) =>
    stalls === 0
      ? []
      : [
          `stalled: ${contender} in ${stalls} ${stalls === 1 ? 'round' : 'rounds'} with less than half of its median`,
        ],
  );
}

const microseconds = (us: number): string =>
  us < 10 ? us.toFixed(2) : us < 100 ? us.toFixed(1) : Math.round(us).toLocaleString('en');

/** Aligns the first column and words to the left, numbers to the right. */
export function columns(lines: readonly (readonly string[])[]): readonly string[] {
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map((line) => (line[column] ?? '').length)),
  );
  return lines.map((line) =>
    line
      .map((cell, column) =>
        column >= 1 && column <= 5 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}
