import { describe, expect, it } from "vitest";
import { place, spread } from "./timeline";
import { phases } from "./waterfall";

describe("place", () => {
  it("lies on the line and keeps the order", () => {
    const at = [0, 5, 65, 365, 2165, 9365].map((s) => place(s, 0, 9365));
    expect(at[0]).toBe(0);
    expect(at.at(-1)).toBe(1);
    expect([...at].sort((a, b) => a - b)).toEqual(at);
    expect(place(-5, 0, 10)).toBe(0);
    expect(place(5, 0, 0)).toBe(0);
  });
});

describe("spread", () => {
  it("moves marks apart and keeps them on the line", () => {
    const got = spread([0, 0.01, 0.5, 0.99, 1], 0.06);
    for (let i = 1; i < got.length; i++) expect((got[i] ?? 0) - (got[i - 1] ?? 0)).toBeGreaterThanOrEqual(0.0599);
    expect(got[0]).toBeGreaterThanOrEqual(0);
    expect(got.at(-1)).toBeLessThanOrEqual(1);
  });

  it("fits more marks than there is room for", () => {
    const got = spread(
      Array.from({ length: 50 }, () => 0),
      0.06,
    );
    expect(got.at(-1)).toBeLessThanOrEqual(1.000001);
    expect(got[0]).toBeGreaterThanOrEqual(-0.000001);
  });
});

describe("phases", () => {
  const none = { dns: 0, connect: 0, tls: 0, firstByte: 0, total: 0, reused: false };
  it("follow one another up to the total", () => {
    const got = phases({ ...none, dns: 2, connect: 3, tls: 5, firstByte: 30, total: 40 });
    expect(got.map((p) => [p.name, p.from, p.took])).toEqual([
      ["DNS", 0, 2],
      ["Connect", 2, 3],
      ["TLS", 5, 5],
      ["Waiting", 10, 20],
      ["Reading", 30, 10],
    ]);
  });

  it("leave out what did not happen", () => {
    expect(phases({ ...none, firstByte: 30, total: 30, reused: true }).map((p) => p.name)).toEqual(["Waiting"]);
    expect(phases({ ...none, connect: 15_000, total: 15_000 }).map((p) => p.name)).toEqual(["Connect"]);
  });
});
