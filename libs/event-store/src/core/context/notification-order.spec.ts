import { expect, it } from '@jest/globals';
import { NotificationOrder } from './notification-order.js';

const permutations = (items: readonly number[]): readonly (readonly number[])[] =>
  items.length === 0
    ? [[]]
    : items.flatMap((first) =>
        permutations(items.filter((each) => each !== first)).map((rest) => [first, ...rest]),
      );

it('Notifications are in the order of versions, each as soon as no lower append is in flight, in whatever order answers come', () => {
  const versions = [1, 2, 3, 4];
  for (const answers of permutations(versions))
    for (let committed = 0; committed < 2 ** versions.length; committed += 1) {
      const order = new NotificationOrder();
      const ends = new Map(versions.map((version) => [version, order.begin('a', version)]));
      const isCommitted = (version: number): boolean => (committed & (1 << (version - 1))) !== 0;
      const notified: number[] = [];
      answers.forEach((version, index) => {
        if (isCommitted(version)) order.notify('a', version, () => notified.push(version));
        ends.get(version)?.();
        const lowest = Math.min(...answers.slice(index + 1));
        const answered = versions.filter((each) => answers.indexOf(each) <= index);
        expect(notified).toEqual(answered.filter((each) => each < lowest && isCommitted(each)));
      });
    }
});

it('An append waits for none of another stream, nor for another one at its own version', () => {
  const order = new NotificationOrder();
  const notified: string[] = [];
  for (const version of [1, 2, 2]) order.begin('a', version);
  order.notify('b', 9, () => notified.push('b'));
  order.notify('a', 1, () => notified.push('a'));
  order.notify('a', 2, () => notified.push('later'));
  expect(notified).toEqual(['b', 'a']);
});
