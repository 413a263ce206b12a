/**
 * The difference of two texts, by their longest common subsequence of lines, with two lines around
 * each change. For files of a few hundred lines: time and memory grow with the product of both.
 */
const context = 2;

export function lineDiff(before: string, after: string): readonly string[] {
  const [old, changed] = [linesOf(before), linesOf(after)];
  const marked = markedLines(old, changed);
  const isNear = (index: number): boolean =>
    marked.slice(Math.max(0, index - context), index + context + 1).some((line) => !line.startsWith(' '));
  return marked.flatMap((line, index) => (isNear(index) ? [line] : isNear(index + 1) ? ['…'] : []));
}

const linesOf = (text: string): readonly string[] =>
  text === '' ? [] : text.replace(/\r?\n$/, '').split(/\r?\n/);

function markedLines(old: readonly string[], changed: readonly string[]): readonly string[] {
  const common = commonLengths(old, changed);
  const marked: string[] = [];
  let [left, right] = [0, 0];
  while (left < old.length || right < changed.length) {
    if (left < old.length && old[left] === changed[right]) {
      marked.push(`  ${old[left]}`);
      left += 1;
      right += 1;
    } else if (
      right >= changed.length ||
      lengthAt(common, left + 1, right) >= lengthAt(common, left, right + 1)
    ) {
      if (left < old.length) marked.push(`- ${old[left]}`);
      else marked.push(`+ ${changed[right]}`);
      if (left < old.length) left += 1;
      else right += 1;
    } else {
      marked.push(`+ ${changed[right]}`);
      right += 1;
    }
  }
  return marked;
}

const lengthAt = (table: readonly (readonly number[])[], left: number, right: number): number =>
  table[left]?.[right] ?? 0;

/** Of the rests of both that begin at each pair of lines. */
function commonLengths(old: readonly string[], changed: readonly string[]): readonly (readonly number[])[] {
  const table = Array.from({ length: old.length + 1 }, () => new Array<number>(changed.length + 1).fill(0));
  for (let left = old.length - 1; left >= 0; left -= 1)
    for (let right = changed.length - 1; right >= 0; right -= 1)
      (table[left] as number[])[right] =
        old[left] === changed[right]
          ? lengthAt(table, left + 1, right + 1) + 1
          : Math.max(lengthAt(table, left + 1, right), lengthAt(table, left, right + 1));
  return table;
}
