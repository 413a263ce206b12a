/**
 * What streams promise on any storage provider, as data: each clause is a sentence, a proof, and a
 * broken variant that the proof must catch, in the streams themselves or in the provider beneath
 * them.
 */
import { replacing, type BrokenProvider, type Capability } from '@kvent/key-value-storage/testing';
import type { LedgerSession, LedgerStream } from './ledger.js';
import type { StreamSubject, StreamWrapper } from './stream-subject.js';

export interface StreamClause {
  /** A whole sentence: what streams promise. */
  readonly name: string;
  /** What it can only be proven with. */
  readonly capability?: Capability;
  readonly broken: BrokenStream;
  /** Proves it, or throws an `AssertionError`. */
  run(subject: StreamSubject): Promise<void>;
}

/**
 * Streams that are broken on purpose: in themselves, or through their provider. `fault`: as in
 * 'streams that …'.
 */
export interface BrokenStream {
  readonly fault: string;
  readonly stream?: StreamWrapper;
  readonly provider?: BrokenProvider;
}

export const throughProvider = (provider: BrokenProvider): BrokenStream => ({
  fault: `have a provider that ${provider.fault}`,
  provider,
});

/** The stream, some of its methods replaced. */
export const breaksStream = (
  fault: string,
  change: (stream: LedgerStream, subject: StreamSubject) => Partial<LedgerStream>,
): BrokenStream => ({
  fault,
  stream: (stream, subject) => replacing(stream, change(stream, subject)),
});

/** Its sessions, some of their members replaced. */
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
