// `?: T | undefined` where undefined means the default; `?: T` where it would drop a check.
export interface CallOptions {
  /**
   * Aborts the call with `ABORTED`: with `effect: 'none'` while it is queued, with `'unknown'` once
   * it was sent.
   */
  readonly signal?: AbortSignal | undefined;
}
export interface ReadOptions extends CallOptions {
  /** 'stale': a replica or a cache may be read. @default 'current' */
  readonly consistency?: 'current' | 'stale';
}
