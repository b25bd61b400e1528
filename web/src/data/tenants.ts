// Tenants: who owns subscriptions and events.
import { infiniteQueryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { createTenant, listTenants, type TenantInput } from "./api";
import { ask, given } from "./client";

export type { Tenant, TenantInput } from "./api";

export function tenantList() {
  return infiniteQueryOptions({
    queryKey: ["tenants"],
    initialPageParam: "",
    queryFn: ({ pageParam, signal }) => ask(listTenants({ signal, query: given({ limit: 100, cursor: pageParam }) })),
    getNextPageParam: (page) => page.next_cursor,
  });
}

export function useCreateTenant() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (body: TenantInput) => ask(createTenant({ body })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ["tenants"] }),
  });
}
