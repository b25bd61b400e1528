// API keys of the tenant.
import { infiniteQueryOptions } from "@tanstack/react-query";
import { createKey, type KeyInput, listKeys, revokeKey } from "./api";
import { ask, given } from "./client";
import { useChange } from "./query";

export type { ApiKey, KeyInput } from "./api";

export function keyList() {
  return infiniteQueryOptions({
    queryKey: ["keys"],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) => ask(listKeys({ signal, query: given({ limit: 100, cursor: pageParam }) })),
    getNextPageParam: (page) => page.next_cursor,
  });
}

export function useCreateKey() {
  return useChange(["keys"], (body: KeyInput) => ask(createKey({ body })));
}

export function useRevokeKey() {
  return useChange(["keys"], (id: string) => ask(revokeKey({ path: { id } })));
}
