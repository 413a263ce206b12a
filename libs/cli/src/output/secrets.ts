/** Finds passwords in the command line and the environment, and hides them in text. */
import { hidePasswords } from '@kvent/key-value-storage/internal/rows';

/**
 * A shorter password may be part of ordinary words: it is hidden only in the form of a password.
 */
const lengthMin = 4;
const hidden = '***';
/** How many `@` of one argument are checked. */
const atMax = 16;

/**
 * Returns a function that hides every password: those in the form of an address, and those in the
 * arguments, which may be mistyped, quoted or without a scheme. `env`: for `PGPASSWORD`.
 */
export function passwordHider(
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

/** An address with a blank in its password, without quotes, arrives as several arguments. */
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

/** Each part of such a password as a password of its own. */
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

/** The text between the first colon of an address and any `@`: a password may contain some. */
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

/** A password in addresses, JSON and inspected objects. */
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
