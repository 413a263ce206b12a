import { basename, dirname } from 'node:path';

const here = import.meta.dirname;

/** The root of the repository, whether this is the source or was compiled. */
export const root = dirname(basename(here) === 'dist' ? dirname(here) : here);
