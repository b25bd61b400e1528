import { describe, expect, it } from "vitest";
import { indented, tokens } from "./json";

describe("indented", () => {
  it.each([
    ['{"a":1,"b":[true,null],"c":{}}', '{\n  "a": 1,\n  "b": [\n    true,\n    null\n  ],\n  "c": {}\n}'],
    ["12345678901234567890", "12345678901234567890"],
    ['{"n": 1.0e+2}', '{\n  "n": 1.0e+2\n}'],
    ['{"s":"a{,:\\"} b"}', '{\n  "s": "a{,:\\"} b"\n}'],
    ["[]", "[]"],
    ["not json", "not json"],
  ])("%s", (text, want) => expect(indented(text)).toBe(want));
});

describe("tokens", () => {
  it("keeps every character", () => {
    const text = '{"a b": "x:\\"y", "n": -1.5e3, "t": true, "z": null} trailing';
    expect(
      tokens(text)
        .map((t) => t.text)
        .join(""),
    ).toBe(text);
  });

  it("tells keys from strings", () => {
    expect(tokens('{"k":"v"}').filter((t) => t.kind !== "plain")).toEqual([
      { text: '"k"', kind: "key" },
      { text: '"v"', kind: "string" },
    ]);
  });
});
