/** The kinds of a stream's rows. */
export type RowKind = 'head' | 'lease' | 'fence' | 'event' | 'snapshot' | 'mark';

/** The container of each kind of rows. */
export type StreamContainers = Readonly<Record<RowKind, string>>;

/** The containers of a stream type; `name` is encoded. */
export const streamContainers = (name: string): StreamContainers => ({
  head: `head:${name}`,
  lease: `lease:${name}`,
  fence: `fence:${name}`,
  event: `event:${name}`,
  snapshot: `snapshot:${name}`,
  mark: `mark:${name}`,
});
