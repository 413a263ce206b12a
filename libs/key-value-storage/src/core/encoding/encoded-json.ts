/**
 * JSON text that the codec wrote: valid JSON in one line, without half characters. So a provider
 * that writes it to a file need not parse it again, which was a tenth of the time of a write.
 */
export class EncodedJson {
  readonly kind = 'json';
  readonly text: string;
  /**
   * The value of the text, for the definition that encoded it. Where the provider keeps the object,
   * a read parses nothing.
   */
  readonly decoded: { readonly state: unknown; readonly value: unknown } | undefined;

  /** `text`: only what `encodeValue` returned. */
  constructor(text: string, decoded?: EncodedJson['decoded']) {
    this.text = text;
    this.decoded = decoded;
  }
}

/**
 * JSON text of the codec that is made when it is first read. The memory provider never reads the
 * text of an idempotency record whose call is not repeated, and saves half of its cost.
 */
export class DeferredJson {
  readonly kind = 'json';
  /** The text is not longer, so that checks of limits need not make it. */
  readonly lengthMax: number;
  #make: (() => string) | undefined;
  #text = '';

  /** `make`: returns only what `encodeValue` returned, or one line of JSON made of it. */
  constructor(make: () => string, lengthMax: number) {
    this.#make = make;
    this.lengthMax = lengthMax;
  }

  get text(): string {
    const make = this.#make;
    if (make !== undefined) {
      this.#text = make();
      this.#make = undefined;
    }
    return this.#text;
  }
}
