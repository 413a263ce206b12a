/** The report of a command: for people, and for programs (`--json`). */
import { grouped } from './progress-line.js';

export interface Report {
  readonly json: object;
  readonly text: readonly string[];
}

/** Columns, each as wide as its widest cell; numbers are right-aligned. */
export function table(rows: readonly (readonly (string | number)[])[]): readonly string[] {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? grouped(cell) : cell)));
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  return cells.map((row, at) =>
    row
      .map((cell, column) =>
        typeof rows[at]?.[column] === 'number'
          ? cell.padStart(widths[column] ?? 0)
          : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

export const counted = (count: number, one: string, many: string): string =>
  `${grouped(count)} ${count === 1 ? one : many}`;

export const inSeconds = (seconds: number): string => `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
