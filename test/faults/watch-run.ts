/** Runs writers and watchers of one storage engine, and checks what was shown. */
import { openStorage, type StorageProvider } from '@kvent/key-value-storage/core';
import { delegating } from '../../libs/key-value-storage/src/core/providers/delegating.js';
import { Worker } from './postgres-processes.js';
import { checkWatches, committedBy, type ViewReport } from './watch-check.js';
import type { WorkReport } from './postgres-work.js';
import { watchAll, watchers, writers, writeWatched, type WatchRun } from './watch-work.js';
import type { WatchLog, WriteLog } from './watch-view.js';

export interface WatchReport {
  readonly writes: number;
  /** For each watching process, and each way to watch. */
  readonly views: readonly ViewReport[];
}

/** Each writer and each watcher is a process of its own. */
export async function watchInProcesses(url: string, { until, amount }: WatchRun): Promise<WatchReport> {
  const children = Array.from(
    { length: watchers + writers },
    (_, number) => new Worker(url, until, number, amount),
  );
  try {
    await Promise.all(children.map((child) => child.nextLine()));
    for (const child of children) child.begin();
    const logs = await Promise.all(
      children.map(async (child) => ((await child.nextLine()) as WorkReport).log),
    );
    return reportOf(logs.slice(watchers) as WriteLog[], logs.slice(0, watchers) as WatchLog[]);
  } finally {
    for (const child of children) child.end();
  }
}

/** An engine that is of one process: its writers and watchers are in this one. */
export async function watchInOneProcess(provider: StorageProvider, run: WatchRun): Promise<WatchReport> {
  await using storage = await openStorage(provider);
  const view = (): StorageProvider => ({
    ...delegating(provider),
    open: () => Promise.resolve(),
    close: () => Promise.resolve(),
  });
  const watching = Array.from({ length: watchers }, () => watchAll(storage, view, 0));
  const writing = Array.from({ length: writers }, (_, number) =>
    writeWatched(storage, watchers + number, run),
  );
  const [watches, writes] = await Promise.all([Promise.all(watching), Promise.all(writing)]);
  return reportOf(writes, watches);
}

function reportOf(writes: readonly WriteLog[], watches: readonly WatchLog[]): WatchReport {
  const committed = committedBy(writes);
  return {
    writes: writes.reduce((sum, log) => sum + log.length / 3, 0),
    views: watches.flatMap((log) => checkWatches(log, committed)),
  };
}
