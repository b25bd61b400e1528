// API keys of the tenant.
import { infiniteQueryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { createKey, type KeyInput, listKeys, revokeKey } from "./api";
import { ask, given } from "./client";

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
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (body: KeyInput) => ask(createKey({ body })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ["keys"] }),
    gcTime: 0,
  });
}

export function useRevokeKey() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => ask(revokeKey({ path: { id } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ["keys"] }),
  });
}
