/**
 * The administration of a storage takes no signal, and Postgres may take minutes for a request. A
 * command that is cancelled waits for neither.
 */
import { setImmediate } from 'node:timers/promises';
import { untilAborted, untilSignal, type StorageProvider } from '@kvent/key-value-storage/internal/rows';

type Administration = StorageProvider['administration'];

/** Rows in memory may be read without a pause, in which Ctrl+C would not be noticed. */
const rowsBetweenPauses = 1_000;

/**
 * The same storage, whose lists, counts and exports are `ABORTED` once the signal aborts, also
 * while an export yields nothing, and while it yields without a pause.
 */
export function interruptible(provider: StorageProvider, signal: AbortSignal): StorageProvider {
  const administration = interruptibleReads(provider.administration, signal);
  return new Proxy(provider, {
    get: (target, name) => {
      if (name === 'administration') return administration;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

function interruptibleReads(inner: Administration, signal: AbortSignal): Administration {
  const until = <R>(work: Promise<R>): Promise<R> => untilAborted('A read', 'none', signal, work);
  const { count } = inner;
  return {
    ...inner,
    databases: () => until(inner.databases()),
    spaces: (database) => until(inner.spaces(database)),
    ...(count && { count: (database: string) => until(count.call(inner, database)) }),
    async *export(database, part) {
      let rows = 0;
      for await (const raw of untilSignal('An export', inner.export(database, part), signal)) {
        yield raw;
        rows += 1;
        if (rows % rowsBetweenPauses === 0) await setImmediate();
      }
    },
  };
}
