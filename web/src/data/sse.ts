// Server-sent events read from a fetch body, because an EventSource keeps to itself what stream.ts must know: with which
// status it was refused, and the comments that tell a quiet connection from a dead one (HTML Living Standard, sections 9.2.3
// and 9.2.6). How long to wait before the next connection is stream.ts's, so `retry` is passed over.

export interface Message {
  event: string;
  data: string;
  /** The last id seen, which a reconnection resumes from. */
  id: string;
}

/** Parser of an event stream that arrives in arbitrary pieces. */
export class Parser {
  /** The id to resume from: set by every message, one without data included. */
  lastId = "";
  private rest = "";
  private id = "";
  private event = "";
  private data: string[] = [];

  /** Takes the next piece and returns the messages it completes. */
  push(piece: string): Message[] {
    const out: Message[] = [];
    const text = this.rest + piece;
    let from = 0;
    for (;;) {
      const end = lineEnd(text, from);
      if (end < 0) break;
      const message = this.line(text.slice(from, end));
      if (message) out.push(message);
      from = end + (text[end] === "\r" && text[end + 1] === "\n" ? 2 : 1);
    }
    this.rest = text.slice(from);
    return out;
  }

  private line(line: string): Message | undefined {
    if (line === "") return this.dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.data.push(value);
    else if (field === "event") this.event = value;
    else if (field === "id" && !value.includes("\0")) this.id = value;
    return undefined;
  }

  private dispatch(): Message | undefined {
    this.lastId = this.id;
    const message =
      this.data.length > 0 ? { event: this.event || "message", data: this.data.join("\n"), id: this.id } : undefined;
    this.event = "";
    this.data = [];
    return message;
  }
}

/** The next end of line, or -1; a carriage return at the very end may be half of a pair, so it waits. */
function lineEnd(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\n") return i;
    if (text[i] === "\r") return i + 1 < text.length ? i : -1;
  }
  return -1;
}

/**
 * Reads a response's body as messages until it ends or fails. Every piece, comments included, is reported as a sign of
 * life, with the id to resume from.
 */
export async function* readMessages(
  body: ReadableStream<Uint8Array>,
  alive: (lastId: string) => void,
): AsyncGenerator<Message[]> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new Parser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const messages = parser.push(decoder.decode(value, { stream: true }));
      alive(parser.lastId);
      if (messages.length > 0) yield messages;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
