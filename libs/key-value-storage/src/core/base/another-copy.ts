/** A process may hold the package twice, each copy with classes of its own. */
import { invalidOption } from './options.js';

/** By the names of its classes. */
export function isOfAnotherCopy(given: unknown, known: { readonly name: string }): boolean {
  if (typeof given !== 'object' || given === null) return false;
  for (let kind: unknown = Object.getPrototypeOf(given); kind !== null; kind = Object.getPrototypeOf(kind))
    if ((kind as { readonly constructor?: { readonly name?: string } }).constructor?.name === known.name)
      return true;
  return false;
}

export const anotherCopy = (subject: string): Error =>
  invalidOption(
    `${subject} is of another copy of @kvent/key-value-storage: the process has loaded the package twice. Install one version (\`npm ls @kvent/key-value-storage\`).`,
  );
