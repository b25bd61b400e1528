import { describe, expect, it } from "vitest";
import { bytes, count, hostPath, milliseconds, percent, plural, rate, relative, span, utc } from "./format";

describe("format", () => {
  it.each([
    [1, "100 %"],
    [0.99999, "99.99 %"],
    [0.999, "99.9 %"],
    [0.987, "98.7 %"],
    [0.5, "50 %"],
    [0.0123, "1.23 %"],
    [0, "0 %"],
  ])("shows the share %d as %s", (share, want) => expect(percent(share)).toBe(want));

  it.each([
    [0.04, "0.04 ms"],
    [4.24, "4.2 ms"],
    [42.4, "42 ms"],
    [1300, "1.3 s"],
    [15_020, "15 s"],
    [125_000, "2 m 5 s"],
  ])("shows %d milliseconds as %s", (ms, want) => expect(milliseconds(ms)).toBe(want));

  it.each([
    [0, "0 s"],
    [0.4, "< 1 s"],
    [59.6, "1 m"],
    [3600, "1 h"],
    [9000, "2 h 30 m"],
    [90_061, "1 d 1 h"],
    [86_430, "1 d"],
  ])("shows a span of %d s as %s", (s, want) => expect(span(s)).toBe(want));

  it.each([
    [-500, "now"],
    [-12_000, "12 s ago"],
    [-3 * 3600_000, "3 h ago"],
    [250_000, "in 4 m 10 s"],
    [2 * 3600_000 + 29_000, "in 2 h"],
  ])("shows a moment %d ms from now as %s", (ms, want) => expect(relative(1e12 + ms, 1e12)).toBe(want));

  it.each([
    [0, "0/s"],
    [0.01, "0.6/min"],
    [2.5, "2.5/s"],
    [1234, "1,234/s"],
  ])("shows %d a second as %s", (n, want) => expect(rate(n)).toBe(want));

  it("counts, measures and shortens", () => {
    expect([count(9999), count(12_345)]).toEqual(["9,999", "12.3K"]);
    expect([plural(1, "delivery", "deliveries"), plural(2, "delivery", "deliveries")]).toEqual([
      "1 delivery",
      "2 deliveries",
    ]);
    expect([bytes(512), bytes(2048), bytes(5 * 1024 * 1024)]).toEqual(["512 B", "2 KiB", "5 MiB"]);
    expect(hostPath("https://example.com/hooks/")).toBe("example.com/hooks");
    expect(utc(0)).toBe("1970-01-01 00:00:00.000 UTC");
  });
});
