/**
 * One opening in a fresh process: node opening-child.js <contender> <directory> <entries>.
 */
import { openings, type OpenedReport } from './opening.js';
import { keysOf } from './product.js';

const [name = '', directory = '', entries = ''] = process.argv.slice(2);
const open = openings[name];
if (open === undefined) throw new Error(`Unknown contender '${name}'.`);
const keys = keysOf(Number(entries));

const rssBefore = settledRss();
const startedAt = performance.now();
const contender = await open({ keys, longEvents: 0, directory, filled: true });
if ((await contender.verbs.get?.(keys.length - 1)) === undefined)
  throw new Error(`${name} does not hold what was stored.`);
const ms = performance.now() - startedAt;
const report: OpenedReport = { ms, rssBefore, rssAfter: settledRss() };
process.stdout.write(JSON.stringify(report));
await contender.close?.();

/** Memory after garbage collection: what the open store needs. */
function settledRss(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}
