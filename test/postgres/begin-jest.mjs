/**
 * Jest's `globalSetup`: gives the tests their seed, and prints it. Where Jest was started without
 * `test/run.mjs` (by an editor, say), it begins a run of its own.
 */
import { seedOfRun } from '../seed.mjs';
import { beginRun, currentRun } from './runs.mjs';

export default () => {
  process.stderr.write(`KVENT_SEED=${seedOfRun()}\n`);
  if (currentRun() === undefined) process.env['KVENT_JEST_RUN'] = beginRun();
};
