import { execFile } from 'node:child_process';

/**
 * What a shell prints for a script, as somebody types it who has `curl`. Rejects when the shell
 * fails.
 */
export function bash(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('bash', ['-c', script], { timeout: 240_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${error.message}\n${stderr}`));
    });
  });
}
