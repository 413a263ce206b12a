/** The process of `kvent`. The result goes to stdout, everything else to stderr. */
import { failureOf } from './output/failure.js';
import { Output } from './output/output.js';
import { passwordHider } from './output/secrets.js';
import { run } from './run.js';

const args = process.argv.slice(2);
const output = new Output(process.stdout, process.stderr, passwordHider(args, process.env), process.env);

// Node would print an uncaught error unchanged, and it may contain an address with a password
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    output.log(`kvent: ${failureOf(error).line}`);
    process.exit(1);
  });
}

// if nothing is left to wait for, Node ends the process before the command has a result
process.exitCode = 1;
// without `await`, which the bundle for CommonJS cannot contain here
void run(args, output).then(({ exitCode, interrupted }) => {
  process.exitCode = exitCode;
  // an interrupted command may still wait for a lock or a connection
  if (interrupted) process.exit();
});
