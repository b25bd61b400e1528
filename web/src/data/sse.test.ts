import { describe, expect, it } from "vitest";
import { Parser, readMessages } from "./sse";

describe("Parser", () => {
  const cases: [string, string[], { event: string; data: string; id: string }[]][] = [
    ["one message", ["event: a\nid: 1\ndata: x\n\n"], [{ event: "a", data: "x", id: "1" }]],
    ["cut anywhere", ["ev", "ent: a\nda", "ta: x", "\n", "\n"], [{ event: "a", data: "x", id: "" }]],
    ["several lines of data", ["data: x\ndata: y\n\n"], [{ event: "message", data: "x\ny", id: "" }]],
    [
      "carriage returns",
      ["data: x\r\n\r\n", "data: y\r\r\n"],
      [
        { event: "message", data: "x", id: "" },
        { event: "message", data: "y", id: "" },
      ],
    ],
    ["a pair cut in two", ["data: x\r", "\n\r", "\n"], [{ event: "message", data: "x", id: "" }]],
    ["comments", [": hello\n\n", ":\n\n"], []],
    ["no space after the colon", ["data:x\n\n"], [{ event: "message", data: "x", id: "" }]],
    [
      "the id stays",
      ["id: 7\ndata: x\n\ndata: y\n\n"],
      [
        { event: "message", data: "x", id: "7" },
        { event: "message", data: "y", id: "7" },
      ],
    ],
    ["an unfinished message", ["data: x\n"], []],
  ];
  it.each(cases)("reads %s", (_, pieces, want) => {
    const parser = new Parser();
    const got = pieces.flatMap((p) => parser.push(p));
    expect(got).toEqual(want);
  });
});

describe("readMessages", () => {
  it("joins a character that was cut in two", async () => {
    const bytes = new TextEncoder().encode("data: ü\n\n");
    const body = new ReadableStream<Uint8Array>({
      start(c) {
        c.enqueue(bytes.slice(0, 7));
        c.enqueue(bytes.slice(7));
        c.close();
      },
    });
    let alive = 0;
    const got = [];
    for await (const messages of readMessages(body, () => alive++)) got.push(...messages.map((m) => m.data));
    expect(got).toEqual(["ü"]);
    expect(alive).toBe(2);
  });
});
