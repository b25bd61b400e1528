// One connection to GET /live that keeps itself alive: it resumes after the last id it saw, waits longer after each
// failure, and notices a connection that has gone silent. What the messages mean is live.ts's.
import { type Message, readMessages } from "./sse";

export type StreamState =
  | { name: "connecting" }
  | { name: "open" }
  /** Waiting to try again at a moment (milliseconds of Date.now). */
  | { name: "waiting"; until: number }
  | { name: "stopped" };

export interface StreamOptions {
  url: string;
  headers: () => Record<string, string>;
  onMessages: (messages: Message[]) => void;
  onState: (state: StreamState) => void;
  /** Any sign of life from the server; it gives one every 15 s at least. */
  onAlive?: () => void;
  /** An answer that no retry will better: 401 or 403. */
  onRefused: (response: Response) => void;
  fetch?: typeof fetch;
  /** Milliseconds without a byte after which a connection counts as dead; the server sends comments more often. */
  silence?: number;
}

const firstDelay = 500;
const longestDelay = 15_000;

/** Milliseconds to wait after so many failures in a row before this one; not the same for all pages that wait. */
export function delayAfter(failures: number): number {
  return Math.min(longestDelay, firstDelay * 2 ** failures) * (0.75 + Math.random() / 2);
}

export class Stream {
  private readonly options: StreamOptions;
  private abort?: AbortController;
  private timer?: ReturnType<typeof setTimeout>;
  private lastId = "";
  private failures = 0;
  private stopped = true;

  constructor(options: StreamOptions) {
    this.options = options;
  }

  start() {
    if (!this.stopped) return;
    this.stopped = false;
    void this.connect();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.abort?.abort();
    this.options.onState({ name: "stopped" });
  }

  /** Tries at once when it was waiting to. */
  hurry() {
    if (this.stopped || this.timer === undefined) return;
    clearTimeout(this.timer);
    void this.connect();
  }

  private async connect() {
    this.timer = undefined;
    const { url, headers, onState, onRefused } = this.options;
    const abort = new AbortController();
    this.abort = abort;
    onState({ name: "connecting" });
    try {
      const response = await (this.options.fetch ?? fetch)(url, {
        headers: {
          Accept: "text/event-stream",
          ...headers(),
          ...(this.lastId ? { "Last-Event-ID": this.lastId } : {}),
        },
        cache: "no-store",
        signal: abort.signal,
      });
      if (response.status === 401 || response.status === 403) {
        this.stop();
        onRefused(response);
        return;
      }
      if (!response.ok || !response.body) throw new Error(`live updates: HTTP ${response.status}`);
      onState({ name: "open" });
      await this.read(response.body, abort);
    } catch {
      // Whatever went wrong, the answer is to try again.
    }
    if (!this.stopped && this.abort === abort) this.wait();
  }

  private async read(body: ReadableStream<Uint8Array>, abort: AbortController) {
    let watchdog: ReturnType<typeof setTimeout> | undefined;
    const alive = (lastId = "") => {
      if (lastId) this.lastId = lastId;
      this.failures = 0;
      this.options.onAlive?.();
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), this.options.silence ?? 45_000);
    };
    alive();
    try {
      for await (const messages of readMessages(body, alive)) {
        this.options.onMessages(messages);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  private wait() {
    const delay = delayAfter(this.failures);
    this.failures++;
    this.timer = setTimeout(() => void this.connect(), delay);
    this.options.onState({ name: "waiting", until: Date.now() + delay });
  }
}
