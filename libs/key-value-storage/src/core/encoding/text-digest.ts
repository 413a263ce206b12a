/**
 * A 64-bit digest of a text in base 36, for places where a collision does no harm. Two
 * multiplications mix each UTF-16 unit, and a final step mixes both halves (cyrb53 without the cut
 * to 53 bits). It does not resist forgery.
 */
export function textDigest(text: string): string {
  let one = 0xdeadbeef;
  let two = 0x41c6ce57;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    one = Math.imul(one ^ unit, 0x9e3779b1);
    two = Math.imul(two ^ unit, 0x5f356495);
  }
  one = Math.imul(one ^ (one >>> 16), 0x85ebca6b) ^ Math.imul(two ^ (two >>> 13), 0xc2b2ae35);
  two = Math.imul(two ^ (two >>> 16), 0x85ebca6b) ^ Math.imul(one ^ (one >>> 13), 0xc2b2ae35);
  return (one >>> 0).toString(36) + (two >>> 0).toString(36);
}
