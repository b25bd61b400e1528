// The catalogue: what events of a type mean and look like.
import { infiniteQueryOptions, queryOptions, useMutation } from "@tanstack/react-query";
import {
  deleteEventType,
  type EventTypeInput,
  getCatalogue,
  getEventType,
  listEventTypes,
  putCatalogue,
  putEventType,
  validatePayload,
} from "./api";
import { ask, given } from "./client";
import { useChange } from "./query";

export type { EventType, EventTypeInput } from "./api";

/** Whether it is spelt as a type must be, for validation while typing; the API has the last word. */
export function isEventType(name: string): boolean {
  return /^[\w-]+(\.[\w-]+)*$/.test(name);
}

/** A filter as it stands in the URL. */
export interface EventTypeFilter {
  q?: string;
  deprecated?: string;
}

export function eventTypeList(filter: EventTypeFilter, limit = 50) {
  return infiniteQueryOptions({
    queryKey: ["eventtypes", "list", filter, limit],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) =>
      ask(
        listEventTypes({
          signal,
          query: given({
            limit,
            cursor: pageParam,
            q: filter.q,
            deprecated: filter.deprecated as "true" | "false" | undefined,
          }),
        }),
      ),
    getNextPageParam: (page) => page.next_cursor,
  });
}

/** The first two hundred, to choose from while typing. */
export function eventTypeChoices() {
  return queryOptions({
    queryKey: ["eventtypes", "choices"],
    queryFn: ({ signal }) => ask(listEventTypes({ signal, query: { limit: 200 } })),
    select: (list) => list.data,
    staleTime: 60_000,
  });
}

export function eventTypeByName(name: string) {
  return queryOptions({
    queryKey: ["eventtypes", "one", name],
    queryFn: ({ signal }) => ask(getEventType({ path: { name }, signal })),
  });
}

export function catalogue() {
  return queryOptions({
    queryKey: ["eventtypes", "catalogue"],
    queryFn: ({ signal }) => ask(getCatalogue({ signal })),
  });
}

/** Creates an event type, or writes the whole of one there is. */
export function useWriteEventType() {
  return useChange(["eventtypes"], ({ name, input }: { name: string; input: EventTypeInput }) =>
    ask(putEventType({ path: { name }, body: input })),
  );
}

export function useDeleteEventType() {
  return useChange(["eventtypes"], (name: string) => ask(deleteEventType({ path: { name } })));
}

export function useStrict() {
  return useChange(["eventtypes"], (strict: boolean) => ask(putCatalogue({ body: { strict } })));
}

interface Trial {
  name: string;
  /** JSON text. */
  payload: string;
}

function tryPayload({ name, payload }: Trial, signal?: AbortSignal) {
  return ask(
    validatePayload({
      path: { name },
      signal,
      body: { payload: null },
      // The payload goes as it stands: its numbers are what the schema is about.
      bodySerializer: () => `{"payload":${payload}}`,
    }),
  );
}

/** Tries a payload on a type's schema, when asked to. */
export function usePayloadTrial() {
  return useMutation({ mutationFn: (trial: Trial) => tryPayload(trial) });
}

/** What a type's schema says of a payload, as often as that changes. */
export function payloadVerdict(trial: Trial) {
  return queryOptions({
    queryKey: ["eventtypes", "verdict", trial],
    queryFn: ({ signal }) => tryPayload(trial, signal),
    gcTime: 0,
    retry: false,
  });
}
