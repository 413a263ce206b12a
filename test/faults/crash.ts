process.stdout.write('Crash rounds come in a later commit.\n');
