/**
 * A reaction whose receiver is a file: one line for each call of its handler, and the line `end`
 * behind it. A process is killed between any two of them.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
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

export async function sendParcels(storage: KeyValueStorage, each: number): Promise<void> {
  const parcels = new EventStore(storage).stream(Parcels);
  for (let number = 0; number < each; number += 1)
    for (const tenant of parcelTenants)
      for (const id of ['a', 'b', 'c', 'd'])
        await parcels
          .forTenant(tenant)
          .append(id, [{ type: 'sent', data: { number } }], { expectedVersion: number });
}

/** `began` is called with each line. */
export function deliveries(
  storage: KeyValueStorage,
  file: string,
  began: (line: string) => void,
): ReactionRunner {
  const reaction = defineReaction('deliveries', {
    streams: [Parcels],
    from: 'beginning',
    concurrency,
    on: {
      sent: async ({ tenant, stream, version, id }) => {
        const line = `${tenant} ${stream} ${version} ${id}`;
        appendFileSync(file, `${line}\n`);
        began(line);
        await new Promise((resolve) => setImmediate(resolve));
        appendFileSync(file, `end ${id}\n`);
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
export function deliveriesIn(file: string): readonly Delivery[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.flatMap((line) => {
    const [tenant, stream, version, id] = line.split(' ');
    return tenant === 'end'
      ? []
      : [{ stream: `${tenant} ${stream}`, version: Number(version), id: id ?? '' }];
  });
}
