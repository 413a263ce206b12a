/**
 * The contract of streams as data: each clause is a sentence, a proof, and a broken variant, of the
 * streams or of their provider, on which the proof must fail.
 */
import { replacing, type BrokenProvider, type Capability } from '@kvent/key-value-storage/testing';
import type { LedgerSession, LedgerStream } from './ledger.js';
import type { StreamSubject, StreamWrapper } from './stream-subject.js';

export interface StreamClause {
  /** A sentence: what streams promise. */
  readonly name: string;
  /** What the provider must be able to do. */
  readonly capability?: Capability;
  readonly broken: BrokenStream;
  /** Proves it, or throws an `AssertionError`. */
  run(subject: StreamSubject): Promise<void>;
}

/** A broken variant of the streams or of their provider. `fault` completes 'streams that …'. */
export interface BrokenStream {
  readonly fault: string;
  readonly stream?: StreamWrapper;
  readonly provider?: BrokenProvider;
}

export const throughProvider = (provider: BrokenProvider): BrokenStream => ({
  fault: `have a provider that ${provider.fault}`,
  provider,
});

/** Replaces methods of the stream. */
export const breaksStream = (
  fault: string,
  change: (stream: LedgerStream, subject: StreamSubject) => Partial<LedgerStream>,
): BrokenStream => ({
  fault,
  stream: (stream, subject) => replacing(stream, change(stream, subject)),
});

/** Replaces members of the sessions. */
export const breaksSessions = (
  fault: string,
  change: (session: LedgerSession, stream: LedgerStream) => Partial<LedgerSession>,
): BrokenStream =>
  breaksStream(fault, (stream) => {
    const openSession: LedgerStream['openSession'] = async (...given) => {
      const session = await stream.openSession(...given);
      return replacing(session, change(session, stream));
    };
    return {
      openSession,
      session: async (id, work, options) => {
        await using session = await openSession(id, options);
        return await work(session);
      },
    };
  });
