/** Creates the provider for all fault tests, on a simulated disk, clock and processes. */
import type { Clock } from '../../libs/key-value-storage/src/core.js';
import type { FileSystem } from '../../libs/key-value-storage/src/providers/json-file/disk/file-system.js';
import { JsonFileProvider } from '../../libs/key-value-storage/src/providers/json-file/json-file-provider.js';

interface Setup {
  readonly directory: string;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  /** Identifies the start of the machine. */
  readonly boot: string;
  readonly pid: number;
  readonly isAlive: (pid: number) => boolean;
  /**
   * Whether the provider can detect that processes of a former start have ended. Otherwise it waits
   * until there was no heartbeat for 3 s.
   */
  readonly detectsReboots?: boolean;
  readonly warn: (message: string) => void;
  readonly lockTimeoutMs?: number;
  readonly openJournalsMax?: number;
}

/** Compacts from a thousand bytes on, so that a short run has several compactions. */
export const jsonFileOn = ({
  boot,
  pid,
  isAlive,
  detectsReboots: knowsBoots = false,
  ...options
}: Setup): JsonFileProvider =>
  new JsonFileProvider({
    ...options,
    compaction: { ratio: 1, minimumBytes: 1_000 },
    processes: {
      own: { host: 'simulated', boot, namespace: 'n', pid, started: '1' },
      isGone: (other) => (other.boot === boot ? !isAlive(other.pid) : knowsBoots),
    },
  });
