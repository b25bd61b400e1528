import { describe, expect, it } from "vitest";
import { progressOf, type Replay, replayRequest } from "./replays";

const now = Date.parse("2026-01-31T10:00:00Z");

describe("a replay as it is asked for", () => {
  it("is of what failed since a moment", () => {
    expect(replayRequest({ kind: "failed", since: "1h", subscription: "sub_1" }, now)).toEqual({
      to: "original",
      filter: { failed_since: "2026-01-31T09:00:00.000Z", subscription_id: "sub_1" },
    });
  });

  it("is of events to one who wants them now", () => {
    const draft = { kind: "matching", since: "1d", type: "order.*, a.b", subscription: "sub_1" } as const;
    expect(replayRequest(draft, now)).toEqual({
      to: "matching",
      filter: { since: "2026-01-30T10:00:00.000Z", event_type: ["order.*", "a.b"] },
      subscription_ids: ["sub_1"],
    });
  });

  it("goes back as far as anything is kept without a time", () => {
    expect(replayRequest({ kind: "ended" }, now).filter).toEqual({ since: "2016-02-03T10:00:00.000Z" });
  });
});

describe("a replay's progress", () => {
  const of = (over: Partial<Replay>) =>
    progressOf({ status: "running", total: 10, created: 0, skipped: 0, ...over } as Replay);
  it("counts what was made and what was left out", () => {
    expect(of({ created: 3, skipped: 2 })).toBe(0.5);
    expect(of({ total: null, created: 3 })).toBeUndefined();
    expect(of({ status: "completed", total: null })).toBe(1);
    expect(of({ total: 0 })).toBe(1);
  });
});
