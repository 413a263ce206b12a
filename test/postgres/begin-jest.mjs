/** Jest's `globalSetup`: where Jest was started without `test/run.mjs` (by an editor, say), it begins a run of its own. */
import { beginRun, currentRun } from './runs.mjs';

export default () => {
  if (currentRun() === undefined) process.env['KVENT_JEST_RUN'] = beginRun();
};
