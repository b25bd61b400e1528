// How answers are kept: one cache for all pages, kept fresh by the live stream (live.ts) and not by polling.
import { QueryCache, QueryClient, useMutation, useQueryClient } from "@tanstack/react-query";
import { asProblem } from "./problem";
import { continues, endSession, session, watchSession } from "./session";

function onError(error: unknown) {
  if (asProblem(error).status === 401) {
    endSession("The session is over: it was not used for 12 hours, or its key expired or was revoked. Sign in again.");
  }
}

export const queryClient = new QueryClient({
  queryCache: new QueryCache({ onError }),
  defaultOptions: {
    queries: {
      // On localhost the browser's own idea of being offline says nothing about the server.
      networkMode: "always",
      staleTime: 5_000,
      gcTime: 5 * 60_000,
      retry: (failures, error) => asProblem(error).passing && failures < 2,
      retryDelay: (failures) => 400 * 2 ** failures,
    },
    mutations: { networkMode: "always", onError },
  },
});

// Nothing of one session may be seen in the next, unless it goes on.
let owner = session().who;
watchSession(() => {
  const { who, left } = session();
  if (who === owner || (!who && left)) return;
  if (who && owner && continues(who, owner)) void queryClient.invalidateQueries();
  else queryClient.clear();
  owner = who;
});

/** A change after which what is kept under a key is read again. Its answer, which may hold a new secret, is not kept. */
export function useChange<A, R>(key: readonly string[], change: (argument: A) => Promise<R>) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSuccess: () => cache.invalidateQueries({ queryKey: key }),
    gcTime: 0,
  });
}
