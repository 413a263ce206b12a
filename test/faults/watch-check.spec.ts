/** The check of what watches have shown finds each fault, and nothing where there is none. */
import { describe, expect, it } from '@jest/globals';
import { checkWatches, committedBy } from './watch-check.js';
import { watchedKeys, type ViewLog } from './watch-view.js';

const pollMs = 200;
/** One key is written three times, by two processes. */
const writes = [
  [0, 1, 1_000, 0, 3, 3_000],
  [0, 2, 2_000],
];
const everyTick = Array.from({ length: 501 }, (_, tick) => tick * 10);
const otherKeys = watchedKeys.flatMap((_, key) => (key === 0 ? [] : [key, 0, 0, 10]));

/** `items` of the one key: count, begin of its read, its time. */
function violationsOf(
  items: readonly (readonly [number, number, number])[],
  view: Partial<ViewLog> = {},
  ticks: readonly number[] = everyTick,
) {
  const flat = [...otherKeys, 0, 0, 5, 10, ...items.flatMap((item) => [0, ...item])];
  const log = { kind: 'watch', items: flat, shows: [], reads: [], ...view } as const;
  const [report] = checkWatches({ pollMs, ticks, views: [log] }, committedBy(writes));
  return report?.violations;
}

const none = { lost: 0, back: 0, outdated: 0, late: 0 };
const inTime = [
  [1, 1_150, 1_160],
  [2, 2_190, 2_200],
  [3, 3_100, 3_110],
] as const;

describe('the check of what watches have shown', () => {
  it('finds nothing where each state is shown within a poll, or a later one in its place', () => {
    expect(violationsOf(inTime)).toEqual(none);
    expect(violationsOf([[2, 1_100, 1_110], ...inTime.slice(2)])).toEqual(none);
  });

  it('finds a last state that was not shown', () => {
    expect(violationsOf(inTime.slice(0, 2))).toEqual({ ...none, lost: 1 });
  });

  it('finds an item that is older than the one before it', () => {
    expect(violationsOf([...inTime, [2, 2_990, 3_200], [3, 3_300, 3_310]])).toEqual({ ...none, back: 1 });
  });

  it('finds an item without a state that was acknowledged before its read began', () => {
    expect(violationsOf([inTime[0], [1, 2_001, 2_010], ...inTime.slice(1)])).toEqual({
      ...none,
      outdated: 1,
    });
    expect(violationsOf([inTime[0], [1, 1_999, 2_010], ...inTime.slice(1)])).toEqual(none);
  });

  it('finds an item of many keys that lacks such a state of a key without a change', () => {
    const shownAlso = (readAt: number): Partial<ViewLog> => ({
      kind: 'watchMany',
      shows: [1_150, readAt, 2_190, 3_100],
    });
    expect(violationsOf(inTime, shownAlso(2_050))).toEqual({ ...none, outdated: 1 });
    expect(violationsOf(inTime, shownAlso(1_999))).toEqual(none);
  });

  describe('of a state that is shown later than a poll after it was acknowledged', () => {
    const late = [inTime[0], [2, 2_400, 2_410], inTime[2]] as const;

    it('finds it where the process waited', () => {
      expect(violationsOf(late)).toEqual({ ...none, late: 1 });
      expect(violationsOf(late, { reads: [2_000, 2_050, 1_990, 2_060] })).toEqual({ ...none, late: 1 });
    });

    it('finds nothing where the process read, or did not run', () => {
      expect(violationsOf(late, { reads: [1_900, 2_100, 2_300, 2_410] })).toEqual(none);
      const stoodStill = everyTick.filter((tick) => tick <= 2_020 || tick > 2_300);
      expect(violationsOf(late, {}, stoodStill)).toEqual(none);
    });
  });

  it('takes a state as committed when a later one of its key was acknowledged', () => {
    expect(
      committedBy([
        [0, 2, 50],
        [0, 1, 80],
      ])[0],
    ).toEqual([Number.NEGATIVE_INFINITY, 50, 50]);
  });

  it('refuses writes of which one is lost or counted twice', () => {
    expect(() => committedBy([[0, 1, 50, 0, 1, 60]])).toThrow('Two writes of key-0 made count 1.');
    expect(() => committedBy([[0, 2, 50]])).toThrow('No write of key-0 made count 1.');
  });
});
