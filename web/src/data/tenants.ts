// Tenants: who owns subscriptions and events.
import { infiniteQueryOptions } from "@tanstack/react-query";
import { createTenant, listTenants, type TenantInput } from "./api";
import { ask, given } from "./client";
import { useChange } from "./query";

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
  return useChange(["tenants"], (body: TenantInput) => ask(createTenant({ body })));
}
