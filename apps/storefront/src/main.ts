process.stdout.write('The storefront opens in a later commit.\n');
