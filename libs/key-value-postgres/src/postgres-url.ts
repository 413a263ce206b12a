/**
 * The address of a database, as `pg` reads it. It may have a password, so it is never in a message.
 */

/**
 * `pg` takes an address without a host, whose socket stands in a parameter; `URL` takes none with a
 * user and no host.
 */
const withHost = (url: string): string => url.replace('@/', '@localhost/');

/**
 * Host, port, database and parameters of an address that `pg` takes; `undefined` for anything else.
 * The folder of a socket is the parameter `host`, in whatever form it was given.
 */
export function parsePostgresUrl(given: unknown): URL | undefined {
  if (typeof given !== 'string') return undefined;
  const [, folder, database = ''] = /^(\/[^ ]*)(?: ([^ ]+))?$/.exec(given) ?? [];
  if (folder !== undefined) return socketUrl(folder, database);
  if (!/^(?:(?:postgres(?:ql)?|pg|socket):\/\/|socket:\/)./i.test(given)) return undefined;
  const url = [given, withHost(given)].find((each) => URL.canParse(each));
  if (url === undefined) return undefined;
  const parsed = new URL(url);
  const { protocol, username, password, pathname, hostname, searchParams } = parsed;
  if (![username, password, pathname, hostname].every(isDecodable)) return undefined;
  return protocol === 'socket:'
    ? socketUrl(decodeURIComponent(pathname), searchParams.get('db') ?? '', parsed.search)
    : parsed;
}

function socketUrl(folder: string, database: string, parameters = ''): URL {
  const url = new URL(`postgres://localhost/${encodeURIComponent(database)}${parameters}`);
  url.searchParams.set('host', folder);
  return url;
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
