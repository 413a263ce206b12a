import { constants } from 'node:fs';

/** Windows has no O_NONBLOCK. */
const { O_RDONLY = 0, O_NONBLOCK = 0 } = constants as Partial<typeof constants>;

/**
 * Flags that open a file to read it. Without O_NONBLOCK, opening a FIFO blocks a thread until it
 * has a writer, and a process cannot end before its threads do.
 */
export const readingFlags = O_RDONLY | O_NONBLOCK;
