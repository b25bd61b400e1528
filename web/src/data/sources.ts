// Sources: where other providers' signed webhooks come in as events.
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import {
  createSource,
  deleteSource,
  getSource,
  listSources,
  patchSource,
  replaceSource,
  rotateSourceSecret,
  type SourceInput,
} from "./api";
import { ask, given } from "./client";
import { useChange } from "./query";

export type { Source, SourceInput } from "./api";

export function sourceList() {
  return infiniteQueryOptions({
    queryKey: ["sources", "list"],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) => ask(listSources({ signal, query: given({ limit: 50, cursor: pageParam }) })),
    getNextPageParam: (page) => page.next_cursor,
  });
}

export function sourceById(id: string) {
  return queryOptions({
    queryKey: ["sources", "one", id],
    queryFn: ({ signal }) => ask(getSource({ path: { id }, signal })),
  });
}

/** Where a provider sends to, as this browser reaches the server. */
export function ingestUrl(source: { ingest_path: string }): string {
  return window.location.origin + source.ingest_path;
}

export function useCreateSource() {
  return useChange(["sources"], (body: SourceInput) => ask(createSource({ body })));
}

/** Writes a whole source: what is left out gets its default, but for the secret. */
export function useReplaceSource() {
  return useChange(["sources"], ({ id, input }: { id: string; input: SourceInput }) =>
    ask(replaceSource({ path: { id }, body: input })),
  );
}

export function useEnableSource() {
  return useChange(["sources"], ({ id, enabled }: { id: string; enabled: boolean }) =>
    ask(patchSource({ path: { id }, body: { enabled } })),
  );
}

export function useDeleteSource() {
  return useChange(["sources"], (id: string) => ask(deleteSource({ path: { id } })));
}

/** Sets the secret that the provider has issued or, without one, has a new one made. The old one verifies for a day. */
export function useRotateSource() {
  return useChange(["sources"], ({ id, secret }: { id: string; secret?: string }) =>
    ask(rotateSourceSecret({ path: { id }, body: { overlap_seconds: 86_400, ...(secret ? { secret } : {}) } })),
  );
}
