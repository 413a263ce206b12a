/** A static property of an interceptor of another package: what it adds to its routes. */
export const httpDescription = Symbol.for('kvent.http-description');

export interface HttpDescription {
  /** Optional headers, with their descriptions. */
  readonly requestHeaders?: Readonly<Record<string, string>>;
  /** Headers of a success, except of GET. */
  readonly headersOfWrites?: Readonly<Record<string, string>>;
  /** By status. */
  readonly problems?: Readonly<Record<number, string>>;
}
