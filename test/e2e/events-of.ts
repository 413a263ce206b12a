/** Server-sent events of the shop. */

export interface ShownEvent {
  /** The name of the event; undefined for one without. */
  readonly type: string | undefined;
  readonly id: string;
  readonly data: unknown;
}

/** The events of a stream, one by one. */
export async function* eventsOf(response: Response): AsyncGenerator<ShownEvent, undefined> {
  let text = '';
  for await (const chunk of (response.body as ReadableStream<Uint8Array>).pipeThrough(
    new TextDecoderStream(),
  )) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name: string): string | undefined =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const [type, id, data] = [field('event'), field('id'), field('data')];
      if (id !== undefined && data !== undefined) yield { type, id, data: JSON.parse(data) as unknown };
    }
  }
  return undefined;
}
