/** How a storage is opened. */

/**
 * `role`: a source is only read, a target is created if it is missing, and what is existing is
 * changed, but not created.
 */
export interface OpenOptions {
  readonly role: 'source' | 'existing' | 'target';
  readonly schema?: string | undefined;
  readonly table?: string | undefined;
  /** How long to wait for a locked directory, or for rows that other sessions lock. */
  readonly waitMs: number;
  /** Called with the warnings of a provider. */
  readonly warn: (message: string) => void;
}
