/**
 * The text of the lock file: the owner of the store, and a heartbeat in fixed columns, so that it
 * can be overwritten in place.
 */
import { randomBytes } from 'node:crypto';
import type { ProcessIdentity } from './process-identity.js';

export interface Owner extends ProcessIdentity {
  readonly owner: string;
}

const heartbeatDigits = 12;

export const newOwner = (identity: ProcessIdentity): Owner => ({
  owner: randomBytes(16).toString('hex'),
  ...identity,
});

/** Everything before the heartbeat: it does not change while the owner runs. */
export const ownerText = (owner: Owner): string => `${JSON.stringify(owner).slice(0, -1)},"beat":"`;
export const heartbeatText = (heartbeat: number): string =>
  heartbeat.toString().padStart(heartbeatDigits, '0');
export const lockText = (owner: Owner, heartbeat: number): string =>
  `${ownerText(owner)}${heartbeatText(heartbeat)}"}\n`;

/** The owner in a lock; `undefined` if it was never finished. */
export function readOwner(text: string): Owner | undefined {
  try {
    const { owner, host, boot, namespace, pid, started } = JSON.parse(text) as Owner;
    return typeof owner === 'string' ? { owner, host, boot, namespace, pid, started } : undefined;
  } catch {
    return undefined;
  }
}

export function describeOwner(text: string): string {
  const owner = readOwner(text);
  return owner === undefined
    ? 'a process that has not written its name yet'
    : `process ${owner.pid} on ${owner.host}`;
}
