import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { become, continues, credentials, endSession, hurryResume, resume, session, signIn, signOut } from "./session";

const who = { tenant_name: "default", key_name: "first", key_prefix: "phk_abcde", scopes: ["admin"], via: "session" };

type Call = { path: string; method: string; headers: Record<string, string> };
let calls: Call[];
let answer: (call: Call) => Response;

beforeEach(() => {
  calls = [];
  answer = () => Response.json(who);
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    const call = { path, method: init.method ?? "GET", headers: (init.headers ?? {}) as Record<string, string> };
    calls.push(call);
    return answer(call);
  });
  become({ who: null, asking: true });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const refused = (status: number, detail = "no") => Response.json({ status, detail, title: "x", type: "y" }, { status });

describe("the session", () => {
  it("is taken up from the cookie when the page starts", async () => {
    await resume();
    expect(session().who).toMatchObject({ key_name: "first" });
    expect(calls).toEqual([{ path: "/session", method: "GET", headers: credentials() }]);
  });

  it("asks for a key when there is none", async () => {
    answer = () => refused(401);
    await resume();
    expect(session()).toEqual({ who: null, ended: undefined });
  });

  it.each([503, 429, 0])("is waited for while the answer is %i", async (status) => {
    vi.useFakeTimers();
    answer = () => {
      if (status === 0) throw new TypeError("Failed to fetch");
      return refused(status);
    };
    void resume();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(session()).toMatchObject({ who: null, asking: true, problem: { status } });
    // Ever less often: after 0.5 s, 1 s, 2 s and so on up to 15 s, more or less.
    expect(calls.length).toBeGreaterThan(5);
    expect(calls.length).toBeLessThan(12);
    answer = () => Response.json(who);
    hurryResume();
    await vi.advanceTimersByTimeAsync(0);
    expect(session()).toEqual({ who });
    const asked = calls.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(calls).toHaveLength(asked);
  });

  it("is asked for no sooner than the server wants", async () => {
    vi.useFakeTimers();
    answer = () => Response.json({}, { status: 503, headers: { "Retry-After": "30" } });
    void resume();
    await vi.advanceTimersByTimeAsync(29_000);
    expect(calls).toHaveLength(1);
    answer = () => refused(401);
    await vi.advanceTimersByTimeAsync(2000);
    expect(session()).toEqual({ who: null });
  });

  it("is not waited for once it was refused", async () => {
    vi.useFakeTimers();
    answer = () => refused(403, "not from this address");
    await resume();
    expect(session()).toMatchObject({ who: null, problem: { status: 403, detail: "not from this address" } });
    expect(session().asking).toBeUndefined();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(calls).toHaveLength(1);
  });

  it("sends the key twice and keeps it nowhere", async () => {
    expect(await signIn("phk_secret")).toBeUndefined();
    expect(calls.map((c) => `${c.method} ${c.path} ${c.headers.Authorization}`)).toEqual([
      "GET /subscriptions?limit=1 Bearer phk_secret",
      "POST /session Bearer phk_secret",
    ]);
    const kept = JSON.stringify([session(), { ...sessionStorage }, { ...localStorage }, document.cookie]);
    expect(kept).not.toContain("phk_secret");
    expect(session().who).not.toBeNull();
  });

  it("does not begin with a key that may not read", async () => {
    answer = () => refused(403);
    expect((await signIn("phk_publisher"))?.status).toBe(403);
    expect(calls).toHaveLength(1);
    expect(session().who).toBeNull();
  });

  it("ends on the server too, and says when it could not be told", async () => {
    await signIn("phk_secret");
    answer = () => new Response(null, { status: 204 });
    await signOut();
    expect(calls.at(-1)).toMatchObject({ path: "/session", method: "DELETE", headers: credentials() });
    expect(session()).toEqual({ who: null, ended: undefined });
    answer = () => refused(503);
    await signOut();
    expect(session().ended).toContain("12 hours");
  });

  it("ends once when the API no longer takes it", async () => {
    await signIn("phk_secret");
    endSession("over");
    endSession("again");
    expect(session()).toMatchObject({ who: null, ended: "over", left: { key_name: "first" } });
  });

  it("goes on for the same tenant with no fewer scopes", () => {
    const left = { ...who, tenant_id: "tnt_1", scopes: ["read", "manage"] } as never;
    const next = (change: object) => ({ ...who, tenant_id: "tnt_1", scopes: ["read", "manage"], ...change }) as never;
    expect(continues(next({ key_name: "second" }), left)).toBe(true);
    expect(continues(next({ scopes: ["read"] }), left)).toBe(false);
    expect(continues(next({ scopes: ["admin"] }), left)).toBe(true);
    expect(continues(next({ tenant_id: "tnt_2" }), left)).toBe(false);
  });
});
