/**
 * The one place where the fault tests build the provider: on a disk, a clock and processes of their
 * own.
 */
import type { Clock } from '../../libs/key-value-storage/src/core.js';
import type { FileSystem } from '../../libs/key-value-storage/src/providers/json-file/disk/file-system.js';
import { JsonFileProvider } from '../../libs/key-value-storage/src/providers/json-file/json-file-provider.js';

interface Given {
  readonly directory: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  /** Which start of the machine this is. */
  readonly boot: string;
  readonly pid: number;
  readonly isAlive: (pid: number) => boolean;
  /**
   * Whether it can tell that processes of an earlier start of the machine are gone; else it waits
   * until no beat has come for 3 s.
   */
  readonly knowsBoots?: boolean;
  readonly warn: (message: string) => void;
  readonly lockTimeoutMs?: number;
  readonly openJournalsMax?: number;
}

/** Compacts from a thousand bytes on, so that a short life holds several compactions. */
export const jsonFileOn = ({ boot, pid, isAlive, knowsBoots = false, ...options }: Given): JsonFileProvider =>
  new JsonFileProvider({
    ...options,
    compaction: { ratio: 1, minimumBytes: 1_000 },
    processes: {
      own: { host: 'simulated', boot, namespace: 'n', pid, started: '1' },
      isGone: (other) => (other.boot === boot ? !isAlive(other.pid) : knowsBoots),
    },
  });
