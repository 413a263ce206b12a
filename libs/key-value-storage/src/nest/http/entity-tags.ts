/** A list of entity tags, as `If-Match` and `If-None-Match` hold it (RFC 9110, 8.8.3 and 13.1). */
interface EntityTag {
  readonly etag: string;
  readonly weak: boolean;
}

/**
 * One tag, and the comma or the end behind it; from where the last one ended, so the work grows
 * with the length and no faster.
 */
const tagPattern = /[\t ]*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[\t ]*(?:,|$)/y;

/**
 * The tags without their quotes; `undefined` for what is no list of them. Empty members of a list
 * are passed over.
 */
export function entityTagsIn(header: string): readonly EntityTag[] | undefined {
  const tags: EntityTag[] = [];
  let at = 0;
  while (at < header.length) {
    const character = header[at];
    if (character === ',' || character === ' ' || character === '\t') {
      at += 1;
      continue;
    }
    tagPattern.lastIndex = at;
    const [tag, weak, etag] = tagPattern.exec(header) ?? [];
    if (tag === undefined || etag === undefined) return undefined;
    tags.push({ etag, weak: weak !== undefined });
    at += tag.length;
  }
  return tags.length === 0 ? undefined : tags;
}
