// The shape of every list: pages read one after the other, shown as rows; what stands for them while they load, fail or are
// none; and filters that live in the URL.
import { Button, Group } from "@mantine/core";
import { IconArrowUp } from "@tabler/icons-react";
import type { InfiniteData, UseInfiniteQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useNews } from "../data/live";
import { ButtonLink } from "./link";
import { Card } from "./page";
import { Rows, type RowsProps } from "./rows";
import { Empty, Loaded, LoadMore } from "./states";

export type Pages<T> = InfiniteData<{ data: T[]; next_cursor: string | null }>;

interface Props<T> extends Omit<RowsProps<T>, "rows"> {
  query: UseInfiniteQueryResult<Pages<T>>;
  /** What stands there when there is nothing. */
  none: ReactNode;
  title?: ReactNode;
  actions?: ReactNode;
}

/** All rows that were read so far. */
export function rowsOf<T>(pages: Pages<T> | undefined): T[] {
  return pages?.pages.flatMap((p) => p.data) ?? [];
}

export function List<T>({ query, none, title, actions, ...rows }: Props<T>) {
  return (
    <Card flush title={title} actions={actions}>
      <Newer query={query} />
      <Loaded query={query}>
        {(pages) => {
          const all = rowsOf(pages);
          if (all.length === 0 && !query.hasNextPage) return none;
          return (
            <>
              <Rows {...rows} rows={all} />
              <LoadMore
                more={query.hasNextPage}
                busy={query.isFetchingNextPage}
                onMore={() => void query.fetchNextPage()}
              />
            </>
          );
        }}
      </Loaded>
    </Card>
  );
}

/** A list of several pages is not reread while someone looks further down; this says that there is more at its top. */
function Newer<T>({ query }: { query: UseInfiniteQueryResult<Pages<T>> }) {
  const long = (query.data?.pages.length ?? 0) > 1;
  const news = useNews(long ? query.dataUpdatedAt : undefined);
  if (!news) return null;
  return (
    <Group justify="center" p="xs" role="status">
      <Button
        size="compact-sm"
        variant="light"
        leftSection={<IconArrowUp size={14} />}
        onClick={() => void query.refetch()}
      >
        More has happened since: read the list again
      </Button>
    </Group>
  );
}

/** The filters above a list. */
export function Filters({ label, children }: { label: string; children: ReactNode }) {
  return (
    <Group gap="xs" role="search" aria-label={label}>
      {children}
    </Group>
  );
}

interface FilteredRoute<F> {
  useSearch: () => F;
  // biome-ignore lint/suspicious/noExplicitAny: each route types its own; a filter only ever changes its own search
  useNavigate: () => (options: any) => unknown;
}

/** A page's filters as the URL has them, how to change some, and whether there are any. */
export function useFilters<F extends object>(route: FilteredRoute<F>) {
  const filter = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<F>) => void navigate({ search: (old: F) => ({ ...old, ...change }), replace: true });
  return { filter, set, filtered: Object.values(filter).some(Boolean) };
}

/** A list in which the filters find nothing. */
export function NoMatch({ what, children }: { what: string; children?: ReactNode }) {
  return (
    <Empty
      title={`No ${what} matches`}
      action={
        <ButtonLink to="." search={{}} variant="default" size="xs">
          Clear the filters
        </ButtonLink>
      }
    >
      {children}
    </Empty>
  );
}
