/** Days of reports, in UTC. */
import { z } from 'zod';

export const Day = z.iso.date().refine((day) => day < '9999', 'a day before the year 9999');

export const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
