// Replays: many events delivered again, in the background.
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import {
  cancelReplay,
  createReplay,
  listReplays,
  type Replay,
  type ReplayCount,
  type ReplayFilter,
  type ReplayRequest,
} from "./api";
import { ask, given } from "./client";
import { useChange } from "./query";
import { isoMoment } from "./timerange";

export type { Replay, ReplayFilter } from "./api";

/** As far back as anything is kept: the longest retention that POSTHORN_RETENTION may say. */
const everything = "3650d";

/** What is delivered again: what failed for good, all that has ended, or events to those who want them now. */
export type ReplayKind = "failed" | "ended" | "matching";

/** A replay as it is asked for. */
export interface ReplayDraft {
  kind: ReplayKind;
  /** As in a URL: "1h" or a moment; nothing goes back as far as anything is kept. */
  since?: string;
  until?: string;
  subscription?: string;
  type?: string;
}

/** The request for a draft. Relative times are fixed at this moment. */
export function replayRequest(draft: ReplayDraft, now = Date.now()): ReplayRequest {
  const since = isoMoment(draft.since ?? everything, now);
  const to = draft.kind === "matching" ? "matching" : "original";
  const filter: ReplayFilter = given({
    event_type: draft.type?.split(",").map((t) => t.trim()),
    until: isoMoment(draft.until, now),
    ...(draft.kind === "failed" ? { failed_since: since } : { since }),
  });
  if (!draft.subscription) return { to, filter };
  return to === "matching"
    ? { to, filter, subscription_ids: [draft.subscription] }
    : { to, filter: { ...filter, subscription_id: draft.subscription } };
}

export function replayList() {
  return infiniteQueryOptions({
    queryKey: ["replays", "list"],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) => ask(listReplays({ signal, query: given({ limit: 50, cursor: pageParam }) })),
    getNextPageParam: (page) => page.next_cursor,
  });
}

/** What a replay would do. */
export function replayCount(request: ReplayRequest) {
  return queryOptions({
    queryKey: ["replays", "count", request],
    queryFn: ({ signal }) => ask(createReplay({ signal, body: { ...request, dry_run: true } })) as Promise<ReplayCount>,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
}

export function useStartReplay() {
  return useChange(
    ["replays", "list"],
    (request: ReplayRequest) => ask(createReplay({ body: request })) as Promise<Replay>,
  );
}

export function useCancelReplay() {
  return useChange(["replays", "list"], (id: string) => ask(cancelReplay({ path: { id } })));
}

/** Whether a replay still makes deliveries. */
export function isUnderWay(r: Replay): boolean {
  return r.status === "pending" || r.status === "running";
}

/** How much of a replay is done, from 0 to 1; undefined where the whole was not counted. */
export function progressOf(r: Replay): number | undefined {
  if (r.status === "completed") return 1;
  if (r.total === null) return undefined;
  return r.total === 0 ? 1 : Math.min(1, (r.created + r.skipped) / r.total);
}
