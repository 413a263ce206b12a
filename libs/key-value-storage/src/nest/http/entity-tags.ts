/** The list of entity tags in `If-Match` and `If-None-Match` (RFC 9110, 8.8.3 and 13.1). */
interface EntityTag {
  readonly etag: string;
  readonly weak: boolean;
}

/**
 * One tag, with the comma or the end after it, from the end of the last one. So the time is linear
 * in the length. A blank within a tag was allowed by RFC 2616, and is accepted as by Express.
 */
const tagPattern = /[\t ]*(W\/)?"([\x20\x21\x23-\x7e\x80-\xff]*)"[\t ]*(?:,|$)/y;

/**
 * The tags without their quotes; `undefined` for a text that is not a list of tags. Empty members
 * are skipped.
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
