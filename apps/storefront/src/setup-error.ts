/** A mistake in the settings, in one line for the user. */
export class SetupError extends Error {
  /**
   * What to do, printed after the message. Passwords in it are kept: it may name the demo database.
   */
  readonly advice: string;

  constructor(message: string, advice = '') {
    super(message);
    this.advice = advice;
  }
}
