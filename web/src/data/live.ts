// What happens, as it happens: one stream for the whole page, which keeps the cached answers true. Pages read the cache;
// only the live tail listens itself.
import type { InfiniteData } from "@tanstack/react-query";
import { useEffect, useSyncExternalStore } from "react";
import type { LiveAttempt, LiveDelivery, LiveEvent, WorkerList } from "./api";
import { attemptsOf } from "./attempts";
import { type Delivery, deliveryById } from "./deliveries";
import { queryClient } from "./query";
import { credentials, endSession, session, watchSession } from "./session";
import type { Message } from "./sse";
import { Stream, type StreamState } from "./stream";
import { workers } from "./workers";

export type Update =
  | { kind: "delivery"; data: LiveDelivery }
  | { kind: "attempt"; data: LiveAttempt }
  | { kind: "event"; data: LiveEvent };

export type LiveState = StreamState & {
  /** Since when there has been no connection, in milliseconds; absent while there is one. */
  lostSince?: number;
};

let state: LiveState = { name: "stopped" };
const stateListeners = new Set<() => void>();
const updateListeners = new Set<(updates: Update[]) => void>();
let lastUpdate = 0;

function become(next: StreamState) {
  const before = state;
  const connected = next.name === "open" || next.name === "stopped";
  state = { ...next, lostSince: connected ? undefined : (before.lostSince ?? Date.now()) };
  for (const listener of stateListeners) listener();
  // What changed while nobody was told is read again: at the first connection, what was read before it.
  if (next.name === "open" && before.lostSince) void queryClient.invalidateQueries({}, { cancelRefetch: false });
}

const stream = new Stream({
  url: "/live",
  headers: credentials,
  onState: become,
  onMessages: (messages) => take(read(messages)),
  // Health is no part of the stream: it is asked for again at the stream's own heartbeats, and so only while it is shown.
  onAlive: () => {
    soon(["health"], 10_000);
    soon(["queuehistory"], 60_000);
    soon(["replays", "list"], 10_000);
  },
  onRefused: (response) => {
    if (response.status === 401) {
      endSession(
        "The session is over: it was not used for 12 hours, or its key expired or was revoked. Sign in again.",
      );
    }
  },
});

function read(messages: Message[]): Update[] {
  const out: Update[] = [];
  for (const m of messages) {
    if (m.event === "reset") void queryClient.invalidateQueries();
    else if (m.event === "workers") queryClient.setQueryData<WorkerList>(workers().queryKey, JSON.parse(m.data));
    else if (m.event === "delivery" || m.event === "attempt" || m.event === "event")
      out.push({ kind: m.event, data: JSON.parse(m.data) });
  }
  return out;
}

function take(updates: Update[]) {
  if (updates.length === 0) return;
  patchLists(new Map(updates.flatMap((u) => (u.kind === "delivery" ? [[u.data.id, u.data]] : []))));
  for (const u of updates) {
    if (u.kind === "delivery") patchDelivery(u.data);
    else if (u.kind === "attempt") soon(attemptsOf(u.data.delivery_id).queryKey, 200);
  }
  lastUpdate = Date.now();
  soon(["events", "list"], 2000);
  soon(["deliveries", "list"], 2000);
  soon(["subscriptions"], 4000);
  soon(["replays", "list"], 1500);
  soon(["sources", "list"], 4000);
  soon(["play"], 300);
  soon(["queue"], 3000);
  soon(["stats"], 5000);
  for (const listener of updateListeners) listener(updates);
}

function moved(d: Delivery, update: LiveDelivery | undefined): Delivery {
  if (!update || d.updated_at > update.updated_at) return d;
  const { status, reason, attempts, next_attempt_at, updated_at } = update;
  return { ...d, status, reason, attempts, next_attempt_at, updated_at };
}

type Pages = InfiniteData<{ data: Delivery[]; next_cursor: string | null }>;

/** Moves the rows that are shown in lists. When a list was read does not change with that. */
function patchLists(updates: Map<string, LiveDelivery>) {
  for (const list of queryClient.getQueryCache().findAll({ queryKey: ["deliveries", "list"], type: "active" })) {
    const old = list.state.data as Pages | undefined;
    if (!old?.pages.some((p) => p.data.some((d) => updates.has(d.id)))) continue;
    const pages = old.pages.map((p) => ({ ...p, data: p.data.map((d) => moved(d, updates.get(d.id))) }));
    queryClient.setQueryData<Pages>(list.queryKey, { ...old, pages }, { updatedAt: list.state.dataUpdatedAt });
  }
}

/** Moves a delivery that is shown to its new state at once; what the stream does not carry is read soon after. */
function patchDelivery(update: LiveDelivery) {
  const { queryKey } = deliveryById(update.id);
  const shown = queryClient.getQueryData<Delivery>(queryKey);
  if (shown) {
    queryClient.setQueryData<Delivery>(queryKey, moved(shown, update));
    soon(queryKey, 200);
  }
  soon(["events", "one", update.event_id], 500);
  soon(["events", "status", update.event_id], 500);
}

const waiting = new Map<string, ReturnType<typeof setTimeout>>();
const lastRefresh = new Map<string, number>();

/** Refreshes what is shown of a key, at most once in so many milliseconds, and never before the last answer is in. */
function soon(key: readonly unknown[], every: number) {
  const name = JSON.stringify(key);
  if (waiting.has(name) || !isShown(key)) return;
  const since = Date.now() - (lastRefresh.get(name) ?? 0);
  const refresh = () => {
    waiting.delete(name);
    lastRefresh.set(name, Date.now());
    void queryClient.invalidateQueries({ queryKey: key, predicate: refreshable }, { cancelRefetch: false });
  };
  waiting.set(name, setTimeout(refresh, Math.max(60, every - since)));
}

function isShown(key: readonly unknown[]): boolean {
  return queryClient.getQueryCache().findAll({ queryKey: key, type: "active" }).length > 0;
}

/** A list that someone has scrolled down is left in peace: rereading all its pages would move the rows under the eye. */
function refreshable(query: { state: { data: unknown } }): boolean {
  const data = query.state.data as { pages?: unknown[] } | undefined;
  return !data?.pages || data.pages.length <= 1;
}

/** Connects while someone is signed in. Called once, when the page starts. */
export function followSession(): () => void {
  const follow = () => {
    stream.stop();
    if (session().who) stream.start();
  };
  follow();
  const unwatch = watchSession(follow);
  window.addEventListener("online", hurryLive);
  return () => {
    unwatch();
    window.removeEventListener("online", hurryLive);
    stream.stop();
  };
}

export function hurryLive() {
  stream.hurry();
}

export function useLiveState(): LiveState {
  return useSyncExternalStore(
    (listener) => {
      stateListeners.add(listener);
      return () => stateListeners.delete(listener);
    },
    () => state,
  );
}

/** Whether anything has happened since a moment; asked for once a second, and not at all without a moment. */
export function useNews(since: number | undefined): boolean {
  return useSyncExternalStore(watchSeconds, () => since !== undefined && lastUpdate > since);
}

function watchSeconds(listener: () => void): () => void {
  const timer = setInterval(listener, 1000);
  return () => clearInterval(timer);
}

/** Hears every update while the component is there. The listener must not change from render to render. */
export function useUpdates(listener: (updates: Update[]) => void) {
  useEffect(() => {
    updateListeners.add(listener);
    return () => void updateListeners.delete(listener);
  }, [listener]);
}
