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
