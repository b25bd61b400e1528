import { IconBolt } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ChoiceFilter, SubscriptionFilter, TextFilter, TimeFilter } from "../components/filters";
import { bytes, plural } from "../components/format";
import { ButtonLink } from "../components/link";
import { Filters, List, NoMatch, useFilters } from "../components/list";
import { Page } from "../components/page";
import { type Column, rowLink } from "../components/rows";
import { Empty } from "../components/states";
import { StatusBadge } from "../components/status";
import { Time } from "../components/time";
import { type Event, eventList } from "../data/events";

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
  const { filter, set, filtered } = useFilters(route);
  const list = useInfiniteQuery(eventList(filter));
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
      <Filters label="Filter events">
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
      </Filters>
      <List label="Events" query={list} columns={columns} keyOf={(e) => e.id} none={<NoEvents filtered={filtered} />} />
    </Page>
  );
}

function NoEvents({ filtered }: { filtered: boolean }) {
  if (filtered) return <NoMatch what="event">Events are kept for the retention, by default 72 hours.</NoMatch>;
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
