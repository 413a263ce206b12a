/**
 * How the cost of work grows with its input: the CPU time of this process for a large input, over
 * that for one a quarter as large. 4 is linear, 16 quadratic. CPU time and not the clock, so that a
 * busy machine changes nothing; the best of several tries, the later ones on a collected heap, so
 * that a garbage collection does not either.
 */
export const sizeRatio = 4;
/** Halfway, on the scale of exponents, between linear (4) and quadratic (16). */
export const growthMax = 8;

/**
 * What every call costs, whatever its size: it keeps tiny costs from looking like growth. A
 * quadratic cost above some 50 ms is still seen.
 */
const floorMs = 5;
const tries = 24;
const triesWithoutCollection = 2;

export async function growthOf(work: (size: number) => unknown, largest: number): Promise<number> {
  const [small, large] = [Math.floor(largest / sizeRatio), largest];
  await work(small); // compiled once, outside the measure
  let [lowSmall, lowLarge] = [Infinity, Infinity];
  for (let attempt = 0; attempt < tries; attempt++) {
    if (attempt >= triesWithoutCollection) globalThis.gc?.();
    lowSmall = Math.min(lowSmall, await cpuMsOf(work, small));
    lowLarge = Math.min(lowLarge, await cpuMsOf(work, large));
    const growth = (lowLarge + floorMs) / (lowSmall + floorMs);
    if (growth < growthMax) return growth;
  }
  return (lowLarge + floorMs) / (lowSmall + floorMs);
}

async function cpuMsOf(work: (size: number) => unknown, size: number): Promise<number> {
  const before = process.cpuUsage();
  await work(size);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}
