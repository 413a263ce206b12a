/** How often each product was shown. */
import { defineCounter } from '@kvent/key-value-storage';

export const Views = defineCounter('views');
