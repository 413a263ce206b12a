/** Sources that still contain banned words of the glossary. This list must end empty. */
export const sourcesNotYetRewritten: readonly string[] = [
  'test/docs/sources-not-yet-rewritten.ts',
];
