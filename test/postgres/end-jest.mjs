/** Jest's `globalTeardown`: ends the run that `begin-jest.mjs` has begun, if it has. */
import { endRun } from './runs.mjs';

export default async () => {
  const run = process.env['KVENT_JEST_RUN'];
  if (run === undefined) return;
  const left = await endRun(run);
  if (left.length > 0) throw new Error(`Tests have left behind ${left.join(', ')}.`);
};
