import { Group } from "@mantine/core";
import { IconBolt } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ChoiceFilter, SubscriptionFilter, TextFilter, TimeFilter } from "../components/filters";
import { bytes, plural } from "../components/format";
import { ButtonLink } from "../components/link";
import { Card, Page } from "../components/page";
import { type Column, Rows, rowLink } from "../components/rows";
import { Empty, Loaded, LoadMore } from "../components/states";
import { StatusBadge } from "../components/status";
import { Time } from "../components/time";
import { type Event, type EventFilter, eventList } from "../data/events";

const route = getRouteApi("/ui/events");

const columns: Column<Event>[] = [
  {
    title: "Type",
    width: "minmax(140px, 2fr)",
    narrow: "line",
    cell: (e) => (
      <Link to="/ui/events/$id" params={{ id: e.id }} className={rowLink}>
        {e.type}
      </Link>
    ),
  },
  { title: "Status", width: "120px", cell: (e) => <StatusBadge kind="event" status={e.status} /> },
  { title: "Deliveries", width: "110px", cell: (e) => plural(e.deliveries, "delivery", "deliveries") },
  { title: "Idempotency key", width: "minmax(100px, 1fr)", narrow: "hidden", cell: (e) => e.idempotency_key ?? "–" },
  { title: "Size", width: "80px", narrow: "hidden", align: "right", cell: (e) => bytes(e.payload_bytes) },
  { title: "Accepted", width: "100px", align: "right", cell: (e) => <Time at={e.created_at} /> },
];

const statuses = ["pending", "succeeded", "partial", "failed", "unmatched"].map((value) => ({
  value,
  label: (value[0] ?? "").toUpperCase() + value.slice(1),
}));

export default function Events() {
  const filter = route.useSearch();
  const navigate = route.useNavigate();
  const list = useInfiniteQuery(eventList(filter));
  const set = (change: Partial<EventFilter>) =>
    void navigate({ search: (old) => ({ ...old, ...change }), replace: true });
  const filtered = Object.values(filter).some(Boolean);
  return (
    <Page
      title="Events"
      lead="What happened, and what became of it."
      actions={
        <ButtonLink to="/ui/events/publish" leftSection={<IconBolt size={16} />}>
          Publish
        </ButtonLink>
      }
    >
      <Group gap="xs" role="search" aria-label="Filter events">
        <TextFilter
          label="Id or idempotency key"
          placeholder="Id or key"
          value={filter.q}
          onChange={(q) => set({ q })}
          width={170}
        />
        <TextFilter
          label="Type"
          placeholder="Type, like order.*"
          value={filter.type}
          onChange={(type) => set({ type })}
          width={180}
        />
        <ChoiceFilter label="Status" choices={statuses} value={filter.status} onChange={(status) => set({ status })} />
        <SubscriptionFilter value={filter.subscription} onChange={(subscription) => set({ subscription })} />
        <TimeFilter since={filter.since} until={filter.until} onChange={set} />
      </Group>
      <Card flush>
        <Loaded query={list}>
          {({ pages }) => {
            const rows = pages.flatMap((p) => p.data);
            if (rows.length === 0 && !list.hasNextPage) return <NoEvents filtered={filtered} />;
            return (
              <>
                <Rows label="Events" columns={columns} rows={rows} keyOf={(e) => e.id} />
                <LoadMore
                  more={list.hasNextPage}
                  busy={list.isFetchingNextPage}
                  onMore={() => void list.fetchNextPage()}
                />
              </>
            );
          }}
        </Loaded>
      </Card>
    </Page>
  );
}

function NoEvents({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return (
      <Empty
        title="No event matches"
        action={
          <ButtonLink to="/ui/events" search={{}} variant="default" size="xs">
            Clear the filters
          </ButtonLink>
        }
      >
        Events are kept for the retention, by default 72 hours.
      </Empty>
    );
  }
  return (
    <Empty
      title="No events yet"
      action={
        <ButtonLink to="/ui/events/publish" size="xs">
          Publish an event
        </ButtonLink>
      }
    >
      Producers publish with <code>POST /events</code>; you can also publish one here.
    </Empty>
  );
}
