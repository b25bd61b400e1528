// Who is signed in, and how requests prove it. Everything that depends on how a session is kept is in this file: a cookie
// that no script can read, for which the API key was exchanged. The key itself is kept nowhere.
import { useSyncExternalStore } from "react";
import type { Session as Who } from "./api";
import { type Problem, problemOf } from "./problem";
import { delayAfter } from "./stream";

export interface Session {
  /** Who is signed in, or null when nobody is. */
  who: Who | null;
  /** Whether the server is still being asked: a page that starts does not know. */
  asking?: boolean;
  /** Why the server has not said who is signed in; while it is being asked, what has to pass before it can. */
  problem?: Problem;
  /** Why the session ended by itself, for the sign-in page to say. */
  ended?: string;
  /** Whose session ended by itself: what they were typing waits for them to sign in again. */
  left?: Who;
}

let current: Session = { who: null, asking: true };
const listeners = new Set<() => void>();

export function become(next: Session) {
  current = next;
  for (const listener of listeners) listener();
}

export function session(): Session {
  return current;
}

/** What goes with every request by the cookie: a foreign page could not add it, and the API insists on it for changes. */
export function credentials(): Record<string, string> {
  return { "X-Posthorn-Dashboard": "1" };
}

async function call(method: string, headers = credentials()): Promise<{ who?: Who; problem?: Problem }> {
  try {
    const response = await fetch("/session", { method, headers });
    const body = response.status === 204 ? undefined : await response.json().catch(() => ({}));
    return response.ok ? { who: body } : { problem: problemOf(body, response) };
  } catch {
    return { problem: problemOf(undefined, undefined) };
  }
}

let askAgain = () => {};

/**
 * Takes up the session that the browser has, if it has one. While the server cannot say, it is asked again: a session is
 * not over because the store is away. Called once, when the page starts.
 */
export async function resume() {
  for (let failures = 0; ; failures++) {
    const { who, problem } = await call("GET");
    if (who || !problem) return become({ who: who ?? null });
    if (problem.status === 401) return become({ who: null });
    if (!problem.passing && problem.status !== 429) return become({ who: null, problem });
    become({ who: null, asking: true, problem });
    const delay = Math.max(delayAfter(failures), (problem.retryAfter ?? 0) * 1000);
    await new Promise<void>((done) => {
      askAgain = done;
      setTimeout(done, delay);
    });
  }
}

/** Asks the server at once when it was to be asked again later. */
export function hurryResume() {
  askAgain();
}

/** Exchanges a key for a session; a Problem when the key may not, or may not read. */
export async function signIn(key: string): Promise<Problem | undefined> {
  const authorization = { Authorization: `Bearer ${key}` };
  try {
    const response = await fetch("/subscriptions?limit=1", { headers: authorization });
    if (!response.ok) return problemOf(await response.json().catch(() => ({})), response);
  } catch {
    return problemOf(undefined, undefined);
  }
  const { who, problem } = await call("POST", authorization);
  if (who) become({ who });
  return problem;
}

export async function signOut() {
  const { problem } = await call("DELETE");
  const told = !problem || problem.status === 401;
  become({
    who: null,
    ended: told ? undefined : "The server could not be told. The session ends by itself after 12 hours without use.",
  });
}

/** Ends a session that the API no longer takes. A second refusal changes nothing. */
export function endSession(reason: string) {
  if (current.who) become({ who: null, ended: reason, left: current.who });
}

/** Whether someone may see all that another could, and so take up the page as it was left. */
export function continues(who: Who, left: Who): boolean {
  const may = (scope: Who["scopes"][number]) => who.scopes.includes(scope) || who.scopes.includes("admin");
  return who.tenant_id === left.tenant_id && left.scopes.every(may);
}

export function watchSession(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useSession(): Session {
  return useSyncExternalStore(watchSession, session);
}
