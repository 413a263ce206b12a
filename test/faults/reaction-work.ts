/**
 * A reaction whose receiver is a folder. A file has one line for each call of its handler; then the
 * effect is a file named by the id of the event, which is created once. A process is killed, or
 * stopped, between the two.
 */
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KeyValueStorage, StorageProvider } from '@kvent/key-value-storage/core';
import { openKeyValueStorage } from '@kvent/key-value-storage/internal';
import {
  defineReaction,
  defineStream,
  event,
  EventStore,
  ReactionRunner,
} from '../../libs/event-store/src/core.js';

export const Parcels = defineStream('parcel', {
  events: { sent: event<{ number: number }>() },
  initial: () => 0,
  evolve: (count) => count + 1,
});
export const parcelTenants = ['acme', 'globex'];
export const concurrency = 3;

/** Milliseconds, so that a killed process is replaced soon. */
const leaseTtlMs = 1_000;

export const openParcels = async (provider: StorageProvider): Promise<KeyValueStorage> =>
  await openKeyValueStorage({ provider, tenant: () => undefined });

/** To each of eight streams, which have `from` events before. */
export async function sendParcels(storage: KeyValueStorage, each: number, from = 0): Promise<void> {
  const parcels = new EventStore(storage).stream(Parcels);
  for (let number = from; number < from + each; number += 1)
    for (const tenant of parcelTenants)
      for (const id of ['a', 'b', 'c', 'd'])
        await parcels
          .forTenant(tenant)
          .append(id, [{ type: 'sent', data: { number } }], { expectedVersion: number });
}

/** `began` is called with each line, `repeated` with the id of an effect that was there before. */
export function deliveries(
  storage: KeyValueStorage,
  folder: string,
  began: (line: string) => void = () => undefined,
  repeated: (id: string) => void = () => undefined,
): ReactionRunner {
  const reaction = defineReaction('deliveries', {
    streams: [Parcels],
    from: 'beginning',
    concurrency,
    on: {
      sent: async ({ tenant, stream, version, id }) => {
        const line = `${tenant} ${stream} ${version} ${id}`;
        appendFileSync(join(folder, calls), `${line}\n`);
        began(line);
        await new Promise((resolve) => setImmediate(resolve));
        if (!recordEffect(join(folder, effect(id)))) repeated(id);
      },
    },
  });
  return new ReactionRunner(storage, reaction, { leaseTtlMs });
}

export interface Delivery {
  readonly stream: string;
  readonly version: number;
  readonly id: string;
}

/** In the order of their beginnings; the last line may be cut by the kill. */
export function deliveriesIn(folder: string): readonly Delivery[] {
  const file = join(folder, calls);
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => {
    const [tenant, stream, version, id = ''] = line.split(' ');
    return { stream: `${tenant} ${stream}`, version: Number(version), id };
  });
}

export const effectsIn = (folder: string): number =>
  readdirSync(folder).filter((name) => name.startsWith(effect(''))).length;

const calls = 'calls';
const effect = (id: string): string => `effect-${id}`;

/** As a receiver with idempotency keys: returns whether it was recorded now. */
function recordEffect(path: string): boolean {
  try {
    writeFileSync(path, '', { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}
