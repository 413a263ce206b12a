import { basename, dirname } from 'node:path';

const here = import.meta.dirname;

/** The root of the repository, for the source and for the compiled code. */
export const root = dirname(basename(here) === 'dist' ? dirname(here) : here);
