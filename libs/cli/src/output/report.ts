/** The report of a command: for people, and for programs (`--json`). */
import { grouped } from './progress-line.js';

/** A line of text. A string is a message: what looks like a password in it is hidden. */
export type Line =
  | string
  | {
      readonly text: string;
      /** Shown on terminals. */
      readonly style?: 'heading' | 'good' | 'bad';
      /** It holds stored data, which is printed as it is. @default false */
      readonly isData?: boolean;
    };

/** A line with stored data: keys, values, etags, cursors. */
export const dataLine = (text: string): Line => ({ text, isData: true });

export interface Report {
  /**
   * One line of JSON; `undefined` prints none. Passwords are hidden in messages and in names of
   * places, see `hideInReport`.
   */
  readonly json: object | undefined;
  readonly text: readonly Line[];
  /** The command did its work, and its result is bad: exit code 1. @default false */
  readonly failed?: boolean;
}

/** Columns of stored data, each as wide as its widest cell; numbers are right-aligned. */
export const table = (rows: readonly (readonly (string | number)[])[]): readonly Line[] =>
  alignedRows(rows).map(dataLine);

function alignedRows(rows: readonly (readonly (string | number)[])[]): readonly string[] {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? grouped(cell) : cell)));
  const widths = (cells[0] ?? []).map((_, column) =>
    cells.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0),
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

/** A table with the names of its columns; nothing without rows. */
export function headedTable(
  columns: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): readonly Line[] {
  if (rows.length === 0) return [];
  const [heading = '', ...lines] = alignedRows([columns, ...rows]);
  return [{ text: heading, style: 'heading', isData: true }, ...lines.map(dataLine)];
}

export const timeText = (ms: number | undefined): string =>
  ms === undefined ? 'never' : new Date(ms).toISOString();

export const counted = (count: number, one: string, many: string): string =>
  `${grouped(count)} ${count === 1 ? one : many}`;

export const inSeconds = (seconds: number): string => `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
