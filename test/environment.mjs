/**
 * Jest's `testEnvironment`: a file of tests that leaves something open (a timer, a socket, a
 * server, a process) fails, by its name. What is just ending is waited for. Jest itself looks only
 * at the end of a run, and only for as long as a quiet machine needs.
 */
import { TestEnvironment } from 'jest-environment-node';
import { disableAsyncStorages, trackAsyncStorages } from './async-storages.mjs';
import { cacheCompiledCode } from './code-cache.mjs';

trackAsyncStorages();
cacheCompiledCode();

/** What tests leave open; Jest's own handles are among the other kinds, or were there before. */
const kinds = [
  'Timeout',
  'Immediate',
  'TCPSocketWrap',
  'TCPServerWrap',
  'UDPWrap',
  'ProcessWrap',
  'MessagePort',
  'FSEventWrap',
  'StatWatcher',
];
const patienceMs = 20_000;

export default class Environment extends TestEnvironment {
  #file;
  #before;
  #hasFailed = false;

  constructor(config, context) {
    super(config, context);
    this.#file = context.testPath;
  }

  async setup() {
    await super.setup();
    this.#before = open();
  }

  handleTestEvent({ name, test }) {
    if (name === 'test_done' && test.errors.length > 0) this.#hasFailed = true;
  }

  async teardown() {
    const left = await this.#left();
    disableAsyncStorages();
    await super.teardown();
    // a test that failed says more than what it has left open
    if (left.length > 0 && !this.#hasFailed)
      throw new Error(`${this.#file} has left open: ${left.join(', ')}.`);
  }

  async #left() {
    const deadline = performance.now() + patienceMs;
    for (;;) {
      const now = open();
      const left = kinds.filter((kind) => (now.get(kind) ?? 0) > (this.#before?.get(kind) ?? 0));
      if (left.length === 0 || this.#hasFailed || performance.now() > deadline) return left;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** How many of each kind keep this process alive. */
function open() {
  const counts = new Map();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}
