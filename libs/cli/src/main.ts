/** `kvent`: the process around a command. The result goes to stdout, everything else to stderr. */
import { failureOf } from './output/failure.js';
import { Output } from './output/output.js';
import { hiderOf } from './output/secrets.js';
import { run } from './run.js';

const args = process.argv.slice(2);
const output = new Output(process.stdout, process.stderr, hiderOf(args, process.env));

// what a library throws behind our back may hold an address: Node would print it as it is
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    output.tell(`kvent: ${failureOf(error).line}`);
    process.exit(1);
  });
}

const { exitCode, brokenOff } = await run(args, output);
process.exitCode = exitCode;
// what was broken off while it waited for a lock or a connection would go on waiting
if (brokenOff) process.exit();
