import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Stream, type StreamState } from "./stream";

interface Connection {
  headers: Record<string, string>;
  send: (text: string) => void;
  drop: () => void;
}

/** A server whose connections the test holds in its hands. */
function server(refuse?: () => Response | undefined) {
  const connections: Connection[] = [];
  const fetch = vi.fn(async (_url: string | URL | Request, init?: RequestInit) => {
    const refusal = refuse?.();
    if (refusal) return refusal;
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start(c) {
        controller = c;
      },
    });
    init?.signal?.addEventListener("abort", () => controller.error(new Error("aborted")));
    connections.push({
      headers: init?.headers as Record<string, string>,
      send: (text) => controller.enqueue(new TextEncoder().encode(text)),
      drop: () => controller.close(),
    });
    return new Response(body, { status: 200 });
  });
  return { fetch: fetch as unknown as typeof globalThis.fetch, connections, calls: fetch.mock.calls };
}

function open(s: ReturnType<typeof server>, onRefused: (r: Response) => void = () => undefined) {
  const got: string[] = [];
  const states: StreamState["name"][] = [];
  const stream = new Stream({
    url: "/live",
    headers: () => ({ Authorization: "Bearer k" }),
    onMessages: (ms) => got.push(...ms.map((m) => m.data)),
    onState: (state) => states.push(state.name),
    onRefused,
    fetch: s.fetch,
  });
  stream.start();
  return { stream, got, states };
}

const settle = () => vi.advanceTimersByTimeAsync(0);

describe("Stream", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("authenticates and hands messages on", async () => {
    const s = server();
    const { got, states } = open(s);
    await settle();
    s.connections[0]?.send("id: 5\ndata: a\n\n");
    await settle();
    expect(got).toEqual(["a"]);
    expect(states).toEqual(["connecting", "open"]);
    expect(s.connections[0]?.headers).toMatchObject({ Authorization: "Bearer k", Accept: "text/event-stream" });
  });

  it("resumes after the last id when the connection ends", async () => {
    const s = server();
    open(s);
    await settle();
    s.connections[0]?.send("id: 5\ndata: a\n\n");
    await settle();
    s.connections[0]?.drop();
    await vi.advanceTimersByTimeAsync(1000);
    expect(s.connections[1]?.headers["Last-Event-ID"]).toBe("5");
  });

  it("resumes after an id that came without data", async () => {
    const s = server();
    const { got } = open(s);
    await settle();
    s.connections[0]?.send("retry: 2000\nid: 2026-01-31T09:30:00Z\n\n");
    await settle();
    s.connections[0]?.drop();
    await vi.advanceTimersByTimeAsync(1000);
    expect(got).toEqual([]);
    expect(s.connections[1]?.headers["Last-Event-ID"]).toBe("2026-01-31T09:30:00Z");
  });

  it("waits longer after each failure, up to a bound, and recovers", async () => {
    let down = true;
    const s = server(() => (down ? new Response("", { status: 503 }) : undefined));
    const { states } = open(s);
    await vi.advanceTimersByTimeAsync(60_000);
    const within = s.calls.length;
    expect(within).toBeGreaterThan(5);
    expect(within).toBeLessThan(14);
    down = false;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(states.at(-1)).toBe("open");
  });

  it("tries at once when hurried", async () => {
    let down = true;
    const s = server(() => (down ? new Response("", { status: 502 }) : undefined));
    const { stream, states } = open(s);
    await vi.advanceTimersByTimeAsync(30_000);
    down = false;
    stream.hurry();
    await settle();
    expect(states.at(-1)).toBe("open");
  });

  it("takes a silent connection for dead", async () => {
    const s = server();
    open(s);
    await settle();
    s.connections[0]?.send(": alive\n\n");
    await vi.advanceTimersByTimeAsync(44_000);
    expect(s.connections).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(s.connections).toHaveLength(2);
  });

  it("gives up when refused", async () => {
    const refused = vi.fn();
    const s = server(() => new Response("", { status: 401 }));
    const { states } = open(s, refused);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(refused).toHaveBeenCalledOnce();
    expect(states).toEqual(["connecting", "stopped"]);
  });

  it("stays stopped", async () => {
    const s = server();
    const { stream, states } = open(s);
    await settle();
    stream.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(s.connections).toHaveLength(1);
    expect(states.at(-1)).toBe("stopped");
  });
});
