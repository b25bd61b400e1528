import { describe, expect, it } from "vitest";
import type { Update } from "./live";
import { Tail, tailFilter } from "./tail";

function attempt(n: number, over: object = {}): Update {
  return {
    kind: "attempt",
    data: {
      id: `att_${n}`,
      delivery_id: `dlv_${n}`,
      event_id: "evt_1",
      event_type: "order.created",
      subscription_id: "sub_1",
      number: 1,
      outcome: "http_error",
      status_code: 503,
      error: null,
      total_ms: 12,
      recorded_at: "2026-01-01T00:00:00Z",
      ...over,
    },
  };
}

function moved(n: number, status: "pending" | "exhausted"): Update {
  return {
    kind: "delivery",
    data: {
      id: `dlv_${n}`,
      event_id: "evt_1",
      event_type: "order.created",
      subscription_id: "sub_1",
      status,
      reason: null,
      attempts: 1,
      next_attempt_at: null,
      updated_at: "2026-01-01T00:00:00Z",
    },
  };
}

describe("Tail", () => {
  it("keeps an attempt that comes twice once, newest first", () => {
    const tail = new Tail();
    tail.add([attempt(1), attempt(2), attempt(1)]);
    expect(tail.rows().map((r) => r.key)).toEqual(["att_2", "att_1"]);
  });

  it("says what became of the delivery", () => {
    const tail = new Tail();
    tail.add([attempt(1), moved(1, "exhausted"), moved(9, "exhausted")]);
    expect(tail.rows().map((r) => r.status)).toEqual(["exhausted"]);
  });

  it("forgets the oldest", () => {
    const tail = new Tail();
    tail.add(Array.from({ length: 5000 }, (_, i) => attempt(i)));
    expect(tail.rows()).toHaveLength(2000);
    expect(tail.rows()[0]?.key).toBe("att_4999");
  });

  it("knows whether there is anything new", () => {
    const tail = new Tail();
    tail.add([attempt(1)]);
    expect(tail.changed()).toBe(true);
    tail.rows();
    tail.add([attempt(1)]);
    expect(tail.changed()).toBe(false);
  });
});

describe("tailFilter", () => {
  const row = (over: object) => {
    const tail = new Tail();
    tail.add([attempt(1, over)]);
    return tail.rows()[0] as NonNullable<ReturnType<Tail["rows"]>[0]>;
  };
  it.each([
    [{}, {}, true],
    [{ type: "order.*" }, {}, true],
    [{ type: "invoice.*, order.created" }, {}, true],
    [{ type: "invoice.*" }, {}, false],
    [{ status: "failed" }, {}, true],
    [{ status: "succeeded" }, {}, false],
    [{ status: "succeeded" }, { outcome: "succeeded", status_code: 200 }, true],
    [{ subscription: "sub_2" }, {}, false],
  ])("%j on %j: %s", (filter, over, want) => expect(tailFilter(filter)(row(over))).toBe(want));
});
