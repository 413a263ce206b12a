/**
 * Polls a condition until it holds, for tests that have no event to wait for.
 * Rejects when it takes unreasonably long: that is a safety net, wide enough for a machine that
 * stands still, and narrower than the one of Jest, which would end a test without its `finally`.
 */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = 240_000,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
