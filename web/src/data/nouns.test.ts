import { describe, expect, it } from "vitest";
import { type Attempt, asCurl, responseText } from "./attempts";
import { bulkFilter } from "./deliveries";
import { payloadText, publishBody } from "./events";
import { everyStep, moodOf, type StatsView, successRate } from "./stats";
import { patternFault, wants } from "./subscriptions";
import { fromLocalInput, isoMoment, localInput, readMoment } from "./timerange";

describe("publishBody", () => {
  it("keeps the payload byte for byte", () => {
    const payload = '{"n": 12345678901234567890, "f": 1.00,\n "k": 1, "k": 2}';
    expect(publishBody({ type: "a.b", payload })).toBe(`{"type":"a.b","payload":${payload}}`);
  });

  it("sends what is not JSON as base64, and only the fields that are set", () => {
    const body = JSON.parse(publishBody({ type: "a.b", payload: "<ü/>", contentType: "text/xml", idempotencyKey: "" }));
    expect(body).toEqual({ type: "a.b", content_type: "text/xml", payload_base64: "PMO8Lz4=" });
    expect(payloadText(body.payload_base64)).toBe("<ü/>");
  });
});

describe("payloadText", () => {
  it("gives text, and undefined for what is none", () => {
    expect(payloadText(btoa("\u00ef\u00bb\u00bfx"))).toBe("\ufeffx");
    expect(payloadText(btoa("\u00ff\u00fe"))).toBeUndefined();
    expect(payloadText(null)).toBeUndefined();
  });
});

describe("wants", () => {
  // The cases of the API's own matching.
  it.each([
    [[], "order.created", true],
    [[], "posthorn.test", false],
    [["*"], "order.created", true],
    [["*"], "posthorn.test", false],
    [["posthorn.*"], "posthorn.test", true],
    [["order.*"], "order.created", true],
    [["order.*"], "order.line.added", true],
    [["order.*"], "order", false],
    [["order.*"], "orders.created", false],
    [["order.created"], "order.created", true],
    [["order.created", "a.*"], "a.b.c", true],
  ])("%j, %s: %s", (patterns, type, want) => expect(wants(patterns, type)).toBe(want));
});

describe("patternFault", () => {
  it.each(["*", "order.created", "order.*", "a-b.c_d", "x"])("accepts %s", (p) =>
    expect(patternFault(p)).toBeUndefined(),
  );
  it.each(["", "order.", ".x", ".*", "order.*.x", "order.*.*", "**", "or der", "ä.b"])("refuses %j", (p) =>
    expect(patternFault(p)).toBeTruthy(),
  );
});

describe("moments in the URL", () => {
  const now = Date.parse("2026-05-01T12:00:00Z");
  it.each([
    ["15m", "2026-05-01T11:45:00.000Z"],
    ["3d", "2026-04-28T12:00:00.000Z"],
    ["2026-04-30T10:00:00Z", "2026-04-30T10:00:00.000Z"],
    ["soon", undefined],
    ["", undefined],
  ])("%s", (text, want) => expect(isoMoment(text, now)).toBe(want));

  it("go through an input and back", () => {
    const shown = localInput("2026-04-30T10:05:00Z");
    expect(readMoment(fromLocalInput(shown), now)?.toISOString()).toBe("2026-04-30T10:05:00.000Z");
    expect(fromLocalInput("")).toBeUndefined();
  });
});

describe("bulkFilter", () => {
  it("says the same as the list's filter", () => {
    expect(
      bulkFilter({ status: "exhausted,cancelled", code: "503", type: "order.*, a.b", subscription: "sub_1" }),
    ).toEqual({
      status: ["exhausted", "cancelled"],
      status_code: 503,
      event_type: ["order.*", "a.b"],
      subscription_id: "sub_1",
    });
    expect(bulkFilter({})).toEqual({});
  });
});

describe("asCurl", () => {
  const attempt = {
    request: {
      headers: { "Content-Type": ["application/json"], "Webhook-Id": ["evt_1"], Host: ["example.com"], "X-Odd": null },
    },
  } as unknown as Attempt;
  it("quotes for a shell and leaves out what curl makes itself", () => {
    expect(asCurl("https://example.com/it's", attempt, `{"a":"it's"}`)).toBe(
      [
        `curl -X POST 'https://example.com/it'\\''s'`,
        `-H 'Content-Type: application/json'`,
        `-H 'Webhook-Id: evt_1'`,
        `--data-raw '{"a":"it'\\''s"}'`,
      ].join(" \\\n  "),
    );
  });
});

describe("responseText", () => {
  const response = { status_code: 200, headers: {}, body: null, body_base64: null, body_truncated: false };
  it("tells text from bytes", () => {
    expect(responseText({ ...response, body: "ok" })).toEqual({ text: "ok", binary: false });
    expect(responseText({ ...response, body_base64: "/w==" })).toEqual({ text: "/w==", binary: true });
    expect(responseText(null)).toEqual({ text: "", binary: false });
  });
});

describe("stats", () => {
  const view = {
    since: "2026-01-01T00:00:00Z",
    until: "2026-01-01T00:05:00Z",
    step_seconds: 60,
    data: [{ at: "2026-01-01T00:02:00Z", attempts: 7 }],
  } as unknown as StatsView;
  it("have every step, those left out as well", () => {
    expect(everyStep(view, (p) => p?.attempts ?? 0).map((s) => s.value)).toEqual([0, 0, 7, 0, 0]);
  });
  it("have no rate without attempts", () => {
    expect(successRate({ attempts: 0, failed: 0 })).toBeUndefined();
    expect(successRate({ attempts: 4, failed: 1 })).toBe(0.75);
  });
});

describe("moodOf", () => {
  it.each([
    [undefined, undefined],
    [0, "bad"],
    [0.499, "bad"],
    [0.5, "warn"],
    [0.949, "warn"],
    [0.95, "good"],
    [1, "good"],
  ])("%s: %s", (share, want) => expect(moodOf(share)).toBe(want));
});
