import { QueryObserver } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Session } from "./api";
import { type Delivery, deliveryById } from "./deliveries";
import { followSession } from "./live";
import { queryClient } from "./query";
import { become, session } from "./session";

const delivery = {
  id: "dlv_1",
  status: "pending",
  attempts: 1,
  reason: null,
  next_attempt_at: "2026-01-01T00:01:00Z",
  updated_at: "2026-01-01T00:00:00Z",
  explanation: "old words",
} as Delivery;

const update = (over: object) => ({
  id: "dlv_1",
  event_id: "evt_1",
  event_type: "a.b",
  subscription_id: "sub_1",
  status: "succeeded",
  reason: null,
  attempts: 2,
  next_attempt_at: null,
  updated_at: "2026-01-01T00:00:09Z",
  ...over,
});

let send: (text: string) => void;
let stop: () => void;
let status = 200;

beforeEach(() => {
  vi.useFakeTimers();
  status = 200;
  vi.stubGlobal("fetch", async (input: Request | string) => {
    const url = typeof input === "string" ? input : input.url;
    if (!url.endsWith("/live")) return Response.json({ ...delivery, status: "succeeded", explanation: "new words" });
    const body = new ReadableStream<Uint8Array>({
      start(c) {
        send = (text) => c.enqueue(new TextEncoder().encode(text));
      },
    });
    return new Response(status === 200 ? body : "{}", { status });
  });
  become({ who: { key_prefix: "phk_test" } as Session });
  stop = followSession();
});

afterEach(() => {
  stop();
  become({ who: null });
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function show() {
  queryClient.setQueryData(deliveryById("dlv_1").queryKey, delivery);
  const seen: Delivery[] = [];
  const observer = new QueryObserver(queryClient, deliveryById("dlv_1"));
  const leave = observer.subscribe((r) => r.data && seen.push(r.data));
  return { seen, leave };
}

const emit = async (data: object) => {
  send(`event: delivery\nid: 1\ndata: ${JSON.stringify(data)}\n\n`);
  await vi.advanceTimersByTimeAsync(0);
};

describe("the live stream", () => {
  it("moves a delivery that is shown at once, and reads the rest soon after", async () => {
    const { seen, leave } = show();
    await vi.advanceTimersByTimeAsync(0);
    await emit(update({}));
    expect(seen.at(-1)).toMatchObject({ status: "succeeded", attempts: 2, explanation: "old words" });
    await vi.advanceTimersByTimeAsync(500);
    expect(seen.at(-1)?.explanation).toBe("new words");
    leave();
  });

  it("never moves a delivery back", async () => {
    const { seen, leave } = show();
    await vi.advanceTimersByTimeAsync(0);
    await emit(update({ status: "exhausted", updated_at: "2025-12-31T00:00:00Z" }));
    expect(seen.some((d) => d.status === "exhausted")).toBe(false);
    leave();
  });

  it("ends the session when the key is no longer taken", async () => {
    status = 401;
    stop();
    stop = followSession();
    await vi.advanceTimersByTimeAsync(10);
    expect(session().who).toBeNull();
    expect(session().ended).toContain("expired or was revoked");
  });
});
