import { messageOf, printable } from '@kvent/key-value-storage/internal';

const charactersMax = 1_000;

/**
 * The message of an error for rows and health checks: on one line, at most 1,000 characters. It may
 * quote what clients have sent, of any length.
 */
export function reasonOf(error: unknown): string {
  // cut first, so that the work does not grow with the text
  const text = printable(messageOf(error).slice(0, charactersMax));
  if (text.length < charactersMax) return text;
  return `${text.slice(0, charactersMax - 1).replace(/\p{Surrogate}$/u, '')}…`;
}
