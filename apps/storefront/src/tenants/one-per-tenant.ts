/** Work that each tenant does once at a time in this process: more of it is refused. */
export class OnePerTenant {
  readonly #busy = new Set<string>();
  readonly #refusal: (tenant: string) => Error;

  constructor(refusal: (tenant: string) => Error) {
    this.#refusal = refusal;
  }

  /** Throws the refusal while the tenant is busy. Call the result at the end of the work. */
  begin(tenant: string): () => void {
    if (this.#busy.has(tenant)) throw this.#refusal(tenant);
    this.#busy.add(tenant);
    return () => void this.#busy.delete(tenant);
  }
}
