/** Why the shop does not open, in one line for whoever started it. */
export class SetupError extends Error {}
