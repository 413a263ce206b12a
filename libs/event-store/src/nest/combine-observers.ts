import { safeObserver, type StreamObserver } from '../core/definition/stream-observer.js';

/** One observer for all of them. Each gets what happens, also where another fails. */
export function combineObservers(...observers: readonly StreamObserver[]): StreamObserver {
  const all = observers.map(safeObserver);
  return {
    observe(entry) {
      for (const each of all) each.observe(entry);
    },
    begin(call) {
      const ends = all.map((each) => each.begin?.(call));
      return (end) => {
        for (const each of ends) each?.(end);
      };
    },
    appended(position) {
      for (const each of all) each.appended?.(position);
    },
  };
}
