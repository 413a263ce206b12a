/** Lines that are wider than the house allows. Code is the formatter's; comments are held here. */

const width = 100;
/** What cannot be broken: directives with their reasons, addresses, and types in JSDoc. */
const unbreakable = /(es|ox)lint-|@ts-|https?:\/\/|@type(def)?\b/;

/**
 * The lines that hold only a comment and are too long, each as `file:line`. Samples within a
 * comment, between lines of three backticks, may be longer.
 */
export function wideComments(file: string, text: string): readonly string[] {
  let isSample = false;
  return text.split('\n').flatMap((line, index) => {
    if (/^\s*\*\s*```/.test(line)) isSample = !isSample;
    const isComment = /^\s*(\/\/|\/\*|\*)/.test(line);
    const isTooWide = line.length > width && isComment && !isSample && !unbreakable.test(line);
    return isTooWide ? [`${file}:${index + 1}`] : [];
  });
}
