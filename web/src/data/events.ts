// Events: lists, one with its payload, publishing and replaying.
import { infiniteQueryOptions, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { type Event, type EventInput, getEvent, getEventStatus, listEvents, publishEvent, replayEvent } from "./api";
import { ask, given } from "./client";
import { useChange } from "./query";
import { isoMoment } from "./timerange";

export type { Event, EventWithPayload } from "./api";

/** A filter as it stands in the URL. */
export interface EventFilter {
  q?: string;
  type?: string;
  status?: string;
  subscription?: string;
  since?: string;
  until?: string;
}

export function eventList(filter: EventFilter, limit = 50) {
  return infiniteQueryOptions({
    queryKey: ["events", "list", filter, limit],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) =>
      ask(
        listEvents({
          signal,
          query: given({
            limit,
            cursor: pageParam,
            q: filter.q,
            type: filter.type,
            status: filter.status as Event["status"] | undefined,
            subscription_id: filter.subscription,
            since: isoMoment(filter.since),
            until: isoMoment(filter.until),
          }),
        }),
      ),
    getNextPageParam: (page) => page.next_cursor,
  });
}

export function eventById(id: string) {
  return queryOptions({
    queryKey: ["events", "one", id],
    queryFn: ({ signal }) => ask(getEvent({ path: { id }, signal })),
  });
}

export function eventStatus(id: string) {
  return queryOptions({
    queryKey: ["events", "status", id],
    queryFn: ({ signal }) => ask(getEventStatus({ path: { id }, signal })),
  });
}

/** An event as it is typed in: the payload as text, sent as it stands. */
export interface Draft {
  type: string;
  payload: string;
  idempotencyKey?: string;
  orderingKey?: string;
  contentType?: string;
}

/**
 * The body of a publish. The payload's text is put in as it is: JSON.parse and back would change numbers and spacing,
 * and what is delivered and signed is these bytes. A payload that is not JSON goes as base64.
 */
export function publishBody(draft: Draft): string {
  const envelope = given({
    type: draft.type,
    idempotency_key: draft.idempotencyKey,
    ordering_key: draft.orderingKey,
    content_type: draft.contentType,
  });
  const head = JSON.stringify(envelope).slice(0, -1);
  const json = isJSON(draft.payload);
  const payload = json
    ? `"payload":${draft.payload.trim()}`
    : `"payload_base64":${JSON.stringify(encodeBase64(draft.payload))}`;
  return `${head}${head === "{" ? "" : ","}${payload}}`;
}

export function isJSON(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function encodeBase64(text: string): string {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return btoa(bytes);
}

/** The bytes of a payload, from base64, as text; undefined when they are not UTF-8. */
export function payloadText(base64: string | null): string | undefined {
  if (base64 === null) return undefined;
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

export function usePublish() {
  return useChange(["events", "list"], (draft: Draft) => {
    const text = publishBody(draft);
    return ask(publishEvent({ body: {} as EventInput, bodySerializer: () => text }));
  });
}

/** Delivers an event again, to the subscriptions named or to all that want it now. */
export function useReplay() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: ({ id, to }: { id: string; to: string[] }) =>
      ask(replayEvent({ path: { id }, body: to.length > 0 ? { subscription_ids: to } : {} })),
    onSuccess: () => {
      void cache.invalidateQueries({ queryKey: ["events"] });
      void cache.invalidateQueries({ queryKey: ["deliveries", "list"] });
    },
  });
}
