process.stdout.write('Benchmarks come in a later commit.\n');
