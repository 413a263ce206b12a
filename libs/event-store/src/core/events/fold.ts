/**
 * Folds events into a state, with `initial` and `evolve` of the definition. What these throw
 * becomes an error with stream, version and type, so that the event can be found. Asynchronous ones
 * are `INVALID_OPTION`.
 */
import { isPromise, refusedPromise, thrownName } from '@kvent/key-value-storage/internal';
import type { AnyEvent } from '../definition/stream-definition.js';
import { streamError } from '../definition/stream-errors.js';
import type { StreamRows } from '../rows/stream-rows.js';

interface Step {
  readonly version: number;
  /** false: the event is about to be appended, and is not when it cannot be folded. */
  readonly stored: boolean;
  /** The version of the snapshot that the fold started from. */
  readonly snapshot?: number;
}

/** The state before the first event; `EVENT_UNREADABLE` at version 0 when `initial` throws. */
export function initialOf({ definition, name, path }: StreamRows): unknown {
  let state: unknown;
  try {
    state = definition.initial();
  } catch (cause) {
    const message = `The ${name} has no initial state: \`initial\` has thrown ${thrownName(cause)}.`;
    throw streamError('EVENT_UNREADABLE', message, { stream: path, version: 0, type: undefined }, { cause });
  }
  if (isPromise(state)) throw refusedPromise(`initial of the stream '${definition.type}'`, state);
  return state;
}

/**
 * The state after an event, of which `evolve` gets type and data; `EVENT_UNREADABLE` when it
 * throws.
 */
export function evolve(rows: StreamRows, state: unknown, { type, data }: AnyEvent, step: Step): unknown {
  let after: unknown;
  try {
    after = rows.definition.evolve(state, data === undefined ? { type } : { type, data });
  } catch (cause) {
    throw streamError(
      'EVENT_UNREADABLE',
      messageOf(rows, type, step, cause),
      { stream: rows.path, version: step.version, type },
      { cause },
    );
  }
  if (isPromise(after)) throw refusedPromise(`evolve of the stream '${rows.definition.type}'`, after);
  return after;
}

/** The state after events that are about to be appended to a state at `version`. */
export const evolveAll = (
  rows: StreamRows,
  before: unknown,
  version: number,
  events: readonly AnyEvent[],
): unknown =>
  events.reduce(
    (state, event, index) => evolve(rows, state, event, { version: version + index + 1, stored: false }),
    before,
  );

function messageOf(
  { name }: StreamRows,
  type: string,
  { version, stored, snapshot = 0 }: Step,
  cause: unknown,
): string {
  const thrown = `\`evolve\` has thrown ${thrownName(cause)}`;
  if (!stored) return `Event ${version} (${type}) is not appended to ${name}: ${thrown} for it.`;
  const from =
    snapshot === 0
      ? ''
      : `, starting from the snapshot at version ${snapshot} (raise snapshot.schemaVersion if the shape of the state has changed)`;
  return `Event ${version} (${type}) of ${name} cannot be folded: ${thrown}${from}.`;
}
