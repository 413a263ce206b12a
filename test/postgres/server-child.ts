/**
 * A process that starts a server, says which in a line of JSON, and ends it when its standard input
 * ends: `server-child.ts <records> [<programs> <uid> <gid>]`, where it becomes that user first.
 */
import { once } from 'node:events';
import { PostgresServer } from './server.js';

const [, , records = '', programs, uid, gid] = process.argv;
if (programs !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(Number(gid));
  process.setuid?.(Number(uid));
}
await using server = await PostgresServer.create({ records, ...(programs !== undefined && { programs }) });
process.stdout.write(
  `${JSON.stringify({ pid: server.pid, directory: server.directory, url: server.url() })}\n`,
);
process.stdin.resume();
await once(process.stdin, 'end');
