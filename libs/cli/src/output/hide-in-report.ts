/**
 * Hides passwords in a report of `--json`, in its messages and names of places only. Keys, values,
 * etags and cursors are printed as they are: programs write them back.
 */

/** Fields with messages, or with names of storages, files and places in them. */
const messageFields: ReadonlySet<string> = new Set([
  'storage',
  'from',
  'to',
  'file',
  'message',
  'place',
  'what',
  'notes',
]);

/** Fields whose objects have such fields. No stored data is below them. */
const parentFields: ReadonlySet<string> = new Set(['error', 'failures', 'databases', 'damage']);

export function hideInReport(report: object, hide: (text: string) => string): object {
  const fields = Object.entries(report).map(([name, value]: [string, unknown]) => {
    if (messageFields.has(name)) return [name, eachOf(value, (text) => hideInText(text, hide))] as const;
    if (!parentFields.has(name)) return [name, value] as const;
    return [name, eachOf(value, (part) => hideInPart(part, hide))] as const;
  });
  return Object.fromEntries(fields);
}

const eachOf = (value: unknown, change: (each: unknown) => unknown): unknown =>
  Array.isArray(value) ? value.map(change) : change(value);

const hideInText = (value: unknown, hide: (text: string) => string): unknown =>
  typeof value === 'string' ? hide(value) : value;

const hideInPart = (part: unknown, hide: (text: string) => string): unknown =>
  typeof part === 'object' && part !== null ? hideInReport(part, hide) : part;
