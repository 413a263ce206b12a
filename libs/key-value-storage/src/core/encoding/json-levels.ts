/**
 * How deep JSON text is nested. Deep text parses, but whatever walks through the value then may run
 * out of stack.
 */

const quote = 0x22;
const backslash = 0x5c;

/**
 * Whether objects and arrays stand in each other more than `levels` deep. Looks at each character
 * once, and parses nothing.
 */
export function isDeeperThan(text: string, levels: number): boolean {
  let level = 0;
  for (let index = 0; index < text.length; index += 1) {
    switch (text.charCodeAt(index)) {
      case quote:
        index = endOfString(text, index);
        break;
      case 0x5b:
      case 0x7b:
        level += 1;
        if (level > levels) return true;
        break;
      case 0x5d:
      case 0x7d:
        level -= 1;
        break;
      default:
    }
  }
  return false;
}

/** Where the string ends that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit === quote) return index;
    if (unit === backslash) index += 1;
  }
  return text.length;
}
