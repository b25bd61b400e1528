import { describe, expect, it } from "vitest";
import { asProblem, formErrors, Problem, problemOf } from "./problem";

function refused(status: number, body: object, headers: Record<string, string> = {}) {
  return problemOf(body, new Response("", { status, headers }));
}

describe("problemOf", () => {
  it("reads problem details", () => {
    const p = refused(
      422,
      {
        title: "Invalid values",
        detail: "the request has invalid values",
        errors: [{ location: "body.url", message: "must be https" }],
      },
      { "X-Request-Id": "req_1" },
    );
    expect([p.status, p.title, p.detail, p.requestId]).toEqual([
      422,
      "Invalid values",
      "the request has invalid values",
      "req_1",
    ]);
    expect(p.fields).toEqual([{ location: "body.url", message: "must be https" }]);
    expect(p.passing).toBe(false);
  });

  it("takes an answer of something in between", () => {
    const p = problemOf("<html>Bad gateway</html>", new Response("", { status: 502, statusText: "Bad Gateway" }));
    expect([p.status, p.title, p.passing]).toEqual([502, "Bad Gateway", true]);
  });

  it("takes no answer at all", () => {
    const p = problemOf(new TypeError("Failed to fetch"), undefined);
    expect([p.status, p.passing]).toEqual([0, true]);
    expect(p.title).toBe("Posthorn cannot be reached");
  });

  it("reads how long to wait", () => {
    expect(refused(429, {}, { "Retry-After": "7" }).retryAfter).toBe(7);
    expect(refused(429, {}).retryAfter).toBeUndefined();
  });
});

describe("asProblem", () => {
  it("keeps a problem and wraps anything else", () => {
    const p = new Problem({ status: 404 });
    expect(asProblem(p)).toBe(p);
    expect(asProblem(new Error("odd")).detail).toContain("odd");
  });
});

describe("formErrors", () => {
  it("puts errors at their fields, what lies deeper at the field that holds it", () => {
    const error = refused(422, {
      errors: [
        { location: "body.url", message: "A" },
        { location: "body.retry.schedule[2]", message: "B" },
        { location: "body.retry", message: "C" },
        { location: "query.limit", message: "D" },
        { location: "body.urls", message: "E" },
      ],
    });
    expect(formErrors(error, ["url", "retry"])).toEqual({ url: "A", retry: "B" });
    expect(formErrors(new Error("no"), ["url"])).toEqual({});
  });
});
