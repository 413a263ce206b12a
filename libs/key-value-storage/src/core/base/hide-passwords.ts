/**
 * Hides passwords in text that is shown: in addresses (`scheme://user:password@host`) and settings
 * (`password=…`, `PGPASSWORD=…`), plain or percent-encoded. They are found by their form alone.
 * Each character is read a bounded number of times.
 */
const hidden = '***';

/** Stands for a password in help texts. */
const placeholder = 'password';
const blank = /\s/;
const assignment =
  /(pass(?:word|wd|phrase)?["']?(?:\s{0,8}[=:]\s{0,8}|%3d))("[^"\n]*"|'[^'\n]*'|[^\s&"',;#)}\]]+)/gi;

/** The text with `***` in the place of each password. */
export function hidePasswords(text: string): string {
  const safe = hideAfter(hideAfter(text, '://', ':', '@'), '%3a%2f%2f', '%3a', '%40');
  return safe.replace(assignment, (whole, name: string, value: string) =>
    value === placeholder ? whole : `${name}${hidden}`,
  );
}

/** Hides what stands between `colon` and the last `at` of an address that begins with `scheme`. */
function hideAfter(text: string, scheme: string, colon: string, at: string): string {
  const lower = text.toLowerCase();
  // a few letters become longer in lower case: the indexes would differ
  if (lower.length !== text.length || !lower.includes(scheme)) return text;
  let shown = '';
  let done = 0;
  for (let found = lower.indexOf(scheme); found >= 0; found = lower.indexOf(scheme, done)) {
    const start = found + scheme.length;
    const end = endOfAddress(text, start);
    const password = passwordIn(lower.slice(start, end), colon, at);
    shown += text.slice(done, start);
    shown +=
      password === undefined ? text.slice(start, end) : withoutPassword(text.slice(start, end), password);
    done = end;
  }
  return shown + text.slice(done);
}

interface Span {
  readonly from: number;
  readonly to: number;
}

function withoutPassword(address: string, { from, to }: Span): string {
  const shown = address.slice(from, to) === placeholder ? placeholder : hidden;
  return address.slice(0, from) + shown + address.slice(to);
}

function endOfAddress(text: string, start: number): number {
  for (let end = start; end < text.length; end += 1) if (blank.test(text.charAt(end))) return end;
  return text.length;
}

function passwordIn(address: string, colon: string, at: string): Span | undefined {
  const first = address.indexOf(colon);
  if (first < 0) return undefined;
  const from = first + colon.length;
  const to = address.lastIndexOf(at);
  if (to >= from) return { from, to };
  // an address that was cut at a blank: anything but a port belongs to a password
  if (to >= 0) return undefined;
  const rest = address.slice(from).split(/[/?#"'`]/, 1)[0] ?? '';
  return address.slice(0, first).includes('/') || /^[0-9]*$/.test(rest)
    ? undefined
    : { from, to: from + rest.length };
}

/**
 * Whether a path looks like an address, which may hold a password that a directory of that name
 * would show: it has `://`, begins or ends with a quote or a blank, or has the form `user:…@host`
 * or `password=…`.
 */
export function looksLikeAddress(path: string): boolean {
  return (
    path.includes('://') ||
    /^[\s"'`]|[\s"'`]$/.test(path) ||
    /^(?:[^/\\:]{2,}:|[^/\\:]:(?![/\\]))[^@]*@/.test(path) ||
    /%3a%2f%2f/i.test(path) ||
    /(?:^|[\s?&])(?:pg)?password\s*=/i.test(path)
  );
}
