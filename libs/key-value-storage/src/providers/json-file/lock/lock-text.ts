/**
 * The text of the lock file: who owns the store, and a beat in fixed columns, so that it is
 * replaced in place.
 */
import { randomBytes } from 'node:crypto';
import type { ProcessIdentity } from './process-identity.js';

export interface Owner extends ProcessIdentity {
  readonly owner: string;
}

const beatDigits = 12;

export const newOwner = (identity: ProcessIdentity): Owner => ({
  owner: randomBytes(16).toString('hex'),
  ...identity,
});

/** Everything before the beat: the same for as long as the owner lives. */
export const ownerText = (owner: Owner): string => `${JSON.stringify(owner).slice(0, -1)},"beat":"`;
export const beatText = (beat: number): string => beat.toString().padStart(beatDigits, '0');
export const lockText = (owner: Owner, beat: number): string => `${ownerText(owner)}${beatText(beat)}"}\n`;

/** Who wrote a lock; `undefined` where it was never finished. */
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
    ? 'a process that has not said yet who it is'
    : `process ${owner.pid} on ${owner.host}`;
}
