import { readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { currentRun, runsFolder } from './runs.mjs';

/**
 * Finds a free port and reserves it until the run ends, so that no other test takes it while a
 * server is stopped. It is below the ports of outgoing connections, which could take it too.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!reserve(port)) continue;
    const probe = createServer();
    const free = await new Promise<boolean>((resolve) => {
      probe
        .once('error', () => resolve(false))
        .listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

/**
 * Reserves the port with a file, which is removed at the end of the run. A process of another user
 * cannot write it and continues without.
 */
function reserve(port: number): boolean {
  const run = currentRun();
  if (run === undefined) return true;
  if (readdirSync(runsFolder).some((name) => name.endsWith(`.port-${port}`))) return false;
  try {
    writeFileSync(join(runsFolder, `${run}.port-${port}`), '', { flag: 'wx' });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST' && code !== 'EACCES') throw error;
    return code === 'EACCES';
  }
}
