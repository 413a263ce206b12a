/**
 * Sources import their neighbours as `./name.js` (what Node will see after the build); Jest runs
 * the `./name.ts` beside it.
 */
module.exports = (request, options) => {
  const ours =
    request.startsWith('.') && request.endsWith('.js') && !options.basedir.includes('node_modules');
  if (!ours) return options.defaultResolver(request, options);
  try {
    return options.defaultResolver(request.replace(/\.js$/, '.ts'), options);
  } catch {
    return options.defaultResolver(request, options);
  }
};
