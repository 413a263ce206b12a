/** For specs: a line of a journal as it is written. */
import { CommitLines } from './commit-lines.js';
import { lineBody, type JournalLine } from './journal-line.js';
import { seal } from './sealed-line.js';

/** Without its line feed. */
export function writtenLine(line: JournalLine, seed: number): Buffer {
  if (line.kind !== 'commit') return Buffer.from(seal(lineBody(line), seed));
  const lines = new CommitLines();
  lines.add(line);
  return Buffer.from(lines.sealed(seed).subarray(0, -1));
}
