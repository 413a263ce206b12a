/** The machine of the measurement: figures of different machines are not comparable. */
import { mkdirSync, statfsSync } from 'node:fs';
import { cpus, loadavg, totalmem, type } from 'node:os';

export interface Machine {
  readonly node: string;
  readonly system: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryGB: number;
  /** Load average of the last minute: above 1, other processes were busy too. */
  readonly loadBefore: number;
  readonly directory: string;
  readonly fileSystem: string;
}

/** The magic numbers of statfs(2). */
const fileSystems: Readonly<Record<number, string>> = {
  0x01021994: 'tmpfs',
  0x858458f6: 'ramfs',
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x2fc12fc1: 'zfs',
  0x794c7630: 'overlay',
  0x6969: 'nfs',
};
const inMemory: readonly string[] = ['tmpfs', 'ramfs'];

/**
 * Describes the machine. Throws if the directory is not on a disk: an fsync without cost would
 * distort the comparison.
 */
export function machineOf(directory: string): Machine {
  mkdirSync(directory, { recursive: true });
  return {
    node: process.version,
    system: `${type()} ${process.arch}`,
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    loadBefore: Math.round((loadavg()[0] as number) * 100) / 100,
    directory,
    fileSystem: diskOf(directory),
  };
}

/** The file system of a folder. Throws if it is in memory. */
export function diskOf(directory: string): string {
  const magic = statfsSync(directory).type;
  const fileSystem = fileSystems[magic] ?? `unknown (${magic.toString(16)})`;
  if (inMemory.includes(fileSystem))
    throw new Error(`--directory must be on a disk; got ${directory} on ${fileSystem}.`);
  return fileSystem;
}

export function describeMachine(machine: Machine): string {
  const { node, system, processor, cores, memoryGB, loadBefore, directory, fileSystem } = machine;
  return [
    `Node ${node}, ${system}, ${cores} cores (${processor}), ${memoryGB} GB, load ${loadBefore}`,
    `${directory} on ${fileSystem}`,
  ].join('\n');
}
