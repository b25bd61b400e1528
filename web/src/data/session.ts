// Who is signed in, and how requests prove it. Everything that depends on how a session is kept is in this file: today
// an API key in the tab's sessionStorage, sent as a bearer token.
import { useSyncExternalStore } from "react";

const storageKey = "posthorn.key";

export interface Session {
  /** The API key, or null when signed out. */
  key: string | null;
  /** Why the session ended by itself, for the sign-in page to say. */
  ended?: string;
}

let current: Session = { key: stored() };
const listeners = new Set<() => void>();

function stored(): string | null {
  try {
    return sessionStorage.getItem(storageKey);
  } catch {
    return null;
  }
}

function become(next: Session) {
  current = next;
  try {
    if (next.key) sessionStorage.setItem(storageKey, next.key);
    else sessionStorage.removeItem(storageKey);
  } catch {
    // Storage may be denied: the session then lasts until the page is reloaded.
  }
  for (const listener of listeners) listener();
}

export function session(): Session {
  return current;
}

export function signIn(key: string) {
  become({ key });
}

export function signOut() {
  become({ key: null });
}

/** Ends a session whose key the API no longer takes. A second refusal of the same key changes nothing. */
export function endSession(reason: string) {
  if (current.key) become({ key: null, ended: reason });
}

/** The headers that authenticate a request as the session, or as a key that is only being tried. */
export function credentials(key = current.key): Record<string, string> {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export function watchSession(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useSession(): Session {
  return useSyncExternalStore(watchSession, session);
}
