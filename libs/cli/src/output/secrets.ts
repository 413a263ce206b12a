/** Passwords that stand in the command line or the environment, and a text without them. */
import { hidePasswords } from '@kvent/key-value-storage/core';

/**
 * Shorter ones would be found in ordinary words: they are hidden where they stand as a password.
 */
const lengthMin = 4;
const hidden = '***';
/** As many of the `@` in one argument are looked at. */
const atMax = 16;

/**
 * Hides every password: by the form of the text, and by what the arguments hold, which may be
 * mistyped, quoted or without a scheme. `env`: for `PGPASSWORD`.
 */
export function hiderOf(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): (text: string) => string {
  const given = [...args, ...joinedAtBlanks(args)].flatMap(passwordsIn);
  const passwords = [...given, env['PGPASSWORD'] ?? '', env['PGSSLPASSWORD'] ?? ''].filter(
    (password) => password !== '',
  );
  const forms = [...new Set(passwords.flatMap(formsOf))].sort((one, other) => other.length - one.length);
  return (text) =>
    forms.reduce(
      (shown, secret) =>
        secret.length < lengthMin
          ? shown.replaceAll(`:${secret}@`, `:${hidden}@`)
          : shown.replaceAll(secret, hidden),
      hidePasswords(text),
    );
}

/** An address whose password has a blank, and was not quoted, comes as several arguments. */
function joinedAtBlanks(args: readonly string[]): readonly string[] {
  return args.flatMap((arg, index) => {
    if (!arg.includes('://') || arg.includes('@')) return [];
    const end = args.findIndex((other, at) => at > index && other.includes('@'));
    const parts = end < 0 ? [] : args.slice(index, end + 1);
    return parts.slice(1).some((part) => part.startsWith('--') || part.includes('://'))
      ? []
      : [parts.join(' '), ...piecesOf(parts)];
  });
}

/** Each part of such a password, as if it were one by itself. */
const piecesOf = (parts: readonly string[]): readonly string[] => {
  const last = parts.at(-1) ?? '';
  return [...parts.slice(0, -1), last.slice(0, last.lastIndexOf('@'))].map(
    (part, index) => `x:${index === 0 ? afterColon(part) : part}@`,
  );
};

const afterColon = (address: string): string =>
  address.slice(address.indexOf(':', address.indexOf('://') + 3) + 1);

function passwordsIn(arg: string): readonly string[] {
  const settings = Array.from(arg.matchAll(/password\s*=\s*('[^']*'|"[^"]*"|[^&#\s]+)/gi), ([, value = '']) =>
    value.replace(/^['"]|['"]$/g, ''),
  );
  return [...settings, ...(arg.includes('@') ? userPasswords(arg) : []), ...userPasswords(decoded(arg))];
}

/**
 * What stands between the first colon of an address and an `@`: any `@`, for a password may hold
 * some.
 */
function userPasswords(arg: string): readonly string[] {
  const scheme = arg.indexOf('://');
  const colon = arg.indexOf(':', scheme < 0 ? 0 : scheme + 3);
  const found: string[] = [];
  for (
    let at = arg.indexOf('@', colon);
    colon >= 0 && at >= 0 && found.length < atMax;
    at = arg.indexOf('@', at + 1)
  )
    found.push(arg.slice(colon + 1, at));
  return found;
}

/** A password as addresses, JSON and inspected objects write it. */
const formsOf = (password: string): readonly string[] =>
  [password, decoded(password), encoded(password), encoded(decoded(password))]
    .flatMap((form) => [
      form,
      JSON.stringify(form).slice(1, -1),
      form.replaceAll('\\', '\\\\').replaceAll("'", "\\'"),
    ])
    .filter((form) => form !== '');

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function encoded(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return text;
  }
}
