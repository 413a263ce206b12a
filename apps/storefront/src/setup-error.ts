/** Why the shop does not open, in one line for whoever started it. */
export class SetupError extends Error {
  /**
   * What to do about it, printed behind the message as it is: an address of ours may hold the
   * password of the demo.
   */
  readonly advice: string;

  constructor(message: string, advice = '') {
    super(message);
    this.advice = advice;
  }
}
