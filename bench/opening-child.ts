/**
 * One opening, in a process that has done nothing else: node opening-child.js <contender>
 * <directory> <entries>.
 */
import { openings, type Opened } from './opening.js';
import { keysOf } from './product.js';

const [name = '', directory = '', entries = ''] = process.argv.slice(2);
const open = openings[name];
if (open === undefined) throw new Error(`There is no '${name}'.`);
const keys = keysOf(Number(entries));

const rssBefore = settledRss();
const begun = performance.now();
const contender = await open({ keys, longEvents: 0, directory, filled: true });
if ((await contender.verbs.get?.(keys.length - 1)) === undefined)
  throw new Error(`${name} does not hold what was stored.`);
const ms = performance.now() - begun;
const opened: Opened = { ms, rssBefore, rssAfter: settledRss() };
process.stdout.write(JSON.stringify(opened));
await contender.close?.();

/** Memory once what nobody holds any more is gone: what is left is what the open store needs. */
function settledRss(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}
