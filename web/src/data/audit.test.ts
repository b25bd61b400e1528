import { describe, expect, it } from "vitest";
import { differences, placeOf } from "./audit";

describe("an entry of the audit log", () => {
  it("shows the fields that changed", () => {
    const before = { id: "sub_1", url: "https://a", updated_at: "1", event_types: ["a"], description: "x" };
    const after = { id: "sub_1", url: "https://b", updated_at: "2", event_types: ["a"], filter: "true" };
    expect(differences({ before, after })).toEqual([
      { field: "url", before: "https://a", after: "https://b" },
      { field: "description", before: "x", after: undefined },
      { field: "filter", before: undefined, after: "true" },
    ]);
  });

  it("shows everything of what is new, and nothing of what is not told", () => {
    expect(differences({ before: null, after: { name: "billing" } })).toEqual([
      { field: "name", before: undefined, after: "billing" },
    ]);
    expect(differences({ before: null, after: null })).toEqual([]);
  });

  it("knows where its object is shown", () => {
    expect(placeOf("sub_1")).toBe("/ui/subscriptions/sub_1");
    expect(placeOf("key_1")).toBeUndefined();
    expect(placeOf(null)).toBeUndefined();
  });
});
