/**
 * The address of a database, as `pg` reads it. It may have a password, so it is never in a message.
 */

/**
 * `pg` takes an address without a host, whose socket stands in a parameter; `URL` takes none with a
 * user and no host.
 */
const withHost = (url: string): string => url.replace('@/', '@localhost/');

/** The parts of an address of Postgres; `undefined` for anything else. `host`: of a socket too. */
export function parsePostgresUrl(given: unknown): URL | undefined {
  if (typeof given !== 'string' || !/^(postgres(ql)?|socket):\/\/./i.test(given)) return undefined;
  const url = [given, withHost(given)].find((each) => URL.canParse(each));
  if (url === undefined) return undefined;
  const parsed = new URL(url);
  const parts = [parsed.username, parsed.password, parsed.pathname, parsed.hostname];
  return parts.every(isDecodable) ? parsed : undefined;
}

function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

/** The parameters of an address: the last one of a name counts. */
export const parametersOf = (url: URL): ReadonlyMap<string, string> => new Map(url.searchParams);

/** The same address without a parameter, otherwise character for character. */
export function withoutParameter(url: string, name: string): string {
  const at = url.indexOf('?');
  if (at === -1) return url;
  const isAnother = (part: string): boolean => !new URLSearchParams(part).has(name);
  const rest = url
    .slice(at + 1)
    .split('&')
    .filter(isAnother);
  return url.slice(0, at) + (rest.length === 0 ? '' : `?${rest.join('&')}`);
}
