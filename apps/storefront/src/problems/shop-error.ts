/** An error of the shop. `code` is stable; `details` are sent with it. */
export class ShopError extends Error {
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    status: number,
    title: string,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
    this.code = code;
    this.status = status;
    this.title = title;
    this.details = details;
  }
}
