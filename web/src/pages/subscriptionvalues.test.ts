import { describe, expect, it } from "vitest";
import type { Subscription } from "../data/subscriptions";
import { describeRetry } from "./subscriptionsettings";
import { blank, fromSubscription, toInput, validate } from "./subscriptionvalues";

const subscription: Subscription = {
  id: "sub_1",
  url: "https://example.com/hook",
  description: "Billing",
  event_types: ["order.*"],
  status: "active",
  disabled_reason: null,
  headers: { "X-Team": "••••••" },
  retry: { schedule: [1, 2], final_statuses: [404], window_seconds: 3600 },
  timeout_seconds: 20,
  rate_limit: { limit: 10, per: "minute" },
  max_in_flight: 8,
  ordering: "fifo",
  on_failure: "skip",
  auth: { type: "bearer", token: "••••••" },
  tls: null,
  signature: {
    profile: "custom",
    header: "X-Acme-Signature",
    algorithm: "hmac-sha512",
    key: "text",
    signed: "{timestamp}.{body}",
    encoding: "base64",
    value: "v1={signature}",
    headers: { "X-Acme-Time": "{timestamp}" },
    keep_standard: false,
  },
  filter: "payload.amount > 100",
  metadata: { team: "blue" },
  public_key: null,
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
};

describe("a subscription in the form", () => {
  it("comes back as it was", () => {
    const { id, status, disabled_reason, public_key, created_at, updated_at, ...written } = subscription;
    expect(toInput(fromSubscription(subscription))).toEqual(written);
  });

  it("keeps an exponential policy", () => {
    const retry = { initial: 5, multiplier: 2, maximum: 600, attempts: 7 };
    expect(toInput(fromSubscription({ ...subscription, retry })).retry).toEqual(retry);
  });

  it("leaves the default policy to the API", () => {
    expect(toInput({ ...blank, url: "https://example.com" }).retry).toBeUndefined();
  });

  it("drops pairs without a name", () => {
    const headers = [
      { name: " X-A ", value: "1" },
      { name: "", value: "2" },
    ];
    expect(toInput({ ...blank, headers }).headers).toEqual({ "X-A": "1" });
  });
});

describe("validation while typing", () => {
  it.each([
    ["https://example.com/a", true],
    ["http://localhost:9000", true],
    ["example.com", false],
    ["ftp://example.com", false],
    ["", false],
  ])("url %j: %s", (url, good) => expect(validate.url(url) === null).toBe(good));

  it.each([
    ["5, 60, 300", true],
    ["", true],
    ["0.05", false],
    ["5, x", false],
  ])("schedule %j: %s", (text, good) =>
    expect(validate.schedule(text, { ...blank, policy: "schedule" }) === null).toBe(good),
  );
});

describe("describeRetry", () => {
  it.each([
    [{ schedule: [5, 60] }, "3 attempts, after 5 s, 1 m"],
    [{ schedule: [] }, "a single attempt"],
    [{ initial: 5, multiplier: 4, maximum: 3600, attempts: 10 }, "10 attempts, first after 5 s, then ×4 up to 1 h"],
  ])("%j", (retry, want) => expect(describeRetry(retry)).toBe(want));
});
