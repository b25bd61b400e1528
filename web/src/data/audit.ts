// The audit log: who changed what, and who was shown a secret.
import { infiniteQueryOptions } from "@tanstack/react-query";
import { type AuditEntry, listAudit } from "./api";
import { ask, given } from "./client";
import { isoMoment } from "./timerange";

export type { AuditEntry } from "./api";

/** A filter as it stands in the URL. */
export interface AuditFilter {
  action?: string;
  object?: string;
  key?: string;
  since?: string;
  until?: string;
}

export function auditLog(filter: AuditFilter, limit = 50) {
  return infiniteQueryOptions({
    queryKey: ["audit", filter, limit],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) =>
      ask(
        listAudit({
          signal,
          query: given({
            limit,
            cursor: pageParam,
            action: filter.action,
            object: filter.object,
            key_id: filter.key,
            since: isoMoment(filter.since),
            until: isoMoment(filter.until),
          }),
        }),
      ),
    getNextPageParam: (page) => page.next_cursor,
  });
}

/** One field of an object before and after a change; undefined where it was not there. */
export interface Difference {
  field: string;
  before: unknown;
  after: unknown;
}

const fields = (value: unknown): Record<string, unknown> =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

/** What an entry changed: fields that are the same before and after are left out, as is the time of the change itself. */
export function differences(entry: Pick<AuditEntry, "before" | "after">): Difference[] {
  const before = fields(entry.before);
  const after = fields(entry.after);
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((field) => field !== "updated_at" && JSON.stringify(before[field]) !== JSON.stringify(after[field]))
    .map((field) => ({ field, before: before[field], after: after[field] }));
}

/** Where in the dashboard an object is shown; undefined for those that are shown nowhere, or no more. */
export function placeOf(object: string | null): string | undefined {
  const noun = object?.split("_")[0] ?? "";
  const places: Record<string, string> = { sub: "subscriptions", evt: "events", dlv: "deliveries", src: "sources" };
  return object && places[noun] ? `/ui/${places[noun]}/${object}` : undefined;
}
