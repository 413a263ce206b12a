/**
 * Calls `work` for one item after the other, and returns the results. A failure of one keeps no
 * other from its turn; the first one is thrown at the end.
 */
export async function eachInTurn<T, R>(
  items: Iterable<T>,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  for (const item of items) {
    try {
      results.push(await work(item));
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return results;
}
