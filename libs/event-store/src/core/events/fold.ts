/**
 * The fold: what a stream is before its first event, and what each event makes of it. Both are
 * functions of the application, and what they throw is told with the stream, the version and the
 * type: else nobody could tell which event of which stream is in the way.
 */
import type { AnyEvent } from '../definition/stream-definition.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamRows } from '../rows/stream-rows.js';

/** An event at its version. `snapshot`: the version of the snapshot that the fold began at. */
interface Step {
  readonly version: number;
  /** false: it is about to be appended, and is not written if it cannot be folded. */
  readonly stored: boolean;
  readonly snapshot?: number;
}

/** The state before the first event; `EVENT_UNREADABLE` at version 0 where `initial` throws. */
export function initialOf({ definition, name, path }: StreamRows): unknown {
  try {
    return definition.initial();
  } catch (cause) {
    const message = `The ${name} has no state to begin with: \`initial\` has thrown ${nameOf(cause)}.`;
    throw streamError('EVENT_UNREADABLE', message, { stream: path, version: 0, type: undefined }, { cause });
  }
}

/**
 * One step of the fold: `evolve` sees type and data, and nothing else. `EVENT_UNREADABLE`, with the
 * cause, where it throws.
 */
export function evolved(rows: StreamRows, state: unknown, { type, data }: AnyEvent, step: Step): unknown {
  try {
    return rows.definition.evolve(state, data === undefined ? { type } : { type, data });
  } catch (cause) {
    throw streamError(
      'EVENT_UNREADABLE',
      messageOf(rows, type, step, cause),
      { stream: rows.path, version: step.version, type },
      { cause },
    );
  }
}

/** `before`, and what the events make of it; they are to be appended behind `version`. */
export const evolvedBy = (
  rows: StreamRows,
  before: unknown,
  version: number,
  events: readonly AnyEvent[],
): unknown =>
  events.reduce(
    (state, event, index) => evolved(rows, state, event, { version: version + index + 1, stored: false }),
    before,
  );

function messageOf(
  { name }: StreamRows,
  type: string,
  { version, stored, snapshot = 0 }: Step,
  cause: unknown,
): string {
  const thrown = `\`evolve\` has thrown ${nameOf(cause)}`;
  if (!stored) return `Event ${version} (${type}) is not appended to ${name}: ${thrown} for it.`;
  const from =
    snapshot === 0
      ? ''
      : `, from the snapshot at version ${snapshot} on (raise snapshot.schemaVersion if the state has another shape now)`;
  return `Event ${version} (${type}) of ${name} cannot be folded: ${thrown}${from}.`;
}

/** The kind of what was thrown: its message may hold data. */
function nameOf(cause: unknown): string {
  const name = (cause as { readonly name?: unknown } | null | undefined)?.name;
  return typeof name === 'string' ? name : typeof cause;
}
