import type { ResolvedStream } from '../definition/stream-definition.js';

/** What reads the feed by partitions, leases and checkpoints, whatever it does with the events. */
export interface Subscription {
  /** For messages, and for the names of its rows. */
  readonly kind: 'projection' | 'reaction';
  /** With the version, or the generation, it names the rows of checkpoints and leases. */
  readonly name: string;
  readonly version: number;
  /** Of what is built several times. */
  readonly generation?: number;
  readonly partitions: number;
  readonly streams: readonly ResolvedStream[];
  /** 'now': it begins with what comes after its first start. */
  readonly from: 'beginning' | 'now';
  /** The provider of its rows; that of the streams where it is undefined. */
  readonly provider: string | undefined;
}

/** Which rows of the name are its own. */
export const generationOf = ({ generation, version }: Subscription): number => generation ?? version;
