import { Button } from "@mantine/core";
import { IconRepeat, IconRoute, IconX } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { ChoiceFilter, SubscriptionFilter, TextFilter, TimeFilter } from "../components/filters";
import { hostPath } from "../components/format";
import { ButtonLink } from "../components/link";
import { Filters, List, NoMatch, rowsOf, useFilters } from "../components/list";
import { Page } from "../components/page";
import { type Column, rowLink } from "../components/rows";
import { Empty } from "../components/states";
import { DeliveryBadge, Outcome, outcomeLabel, outcomeNames } from "../components/status";
import { SubscriptionName } from "../components/subscriptionname";
import { Due, Time } from "../components/time";
import { type Delivery, type DeliveryFilter, deliveryList } from "../data/deliveries";
import { Bulk } from "./bulk";

const route = getRouteApi("/ui/deliveries");

export const deliveryColumns: Column<Delivery>[] = [
  {
    title: "Event type",
    width: "minmax(130px, 1.2fr)",
    narrow: "line",
    cell: (d) => (
      <Link to="/ui/deliveries/$id" params={{ id: d.id }} className={rowLink}>
        {d.event_type}
      </Link>
    ),
  },
  {
    title: "To",
    width: "minmax(130px, 1.6fr)",
    narrow: "line",
    cell: (d) => <SubscriptionName id={d.subscription_id} url={d.url} />,
  },
  { title: "Status", width: "116px", cell: (d) => <DeliveryBadge status={d.status} attempts={d.attempts} /> },
  {
    title: "Last attempt",
    width: "130px",
    cell: (d) => <Outcome outcome={d.last_outcome} code={d.last_status_code} />,
  },
  { title: "Attempts", width: "70px", align: "right", narrow: "hidden", cell: (d) => d.attempts },
  {
    title: "Next",
    width: "100px",
    align: "right",
    narrow: "hidden",
    cell: (d) => (d.in_flight ? "on its way" : <Due at={d.next_attempt_at} />),
  },
  { title: "Created", width: "90px", align: "right", cell: (d) => <Time at={d.created_at} /> },
];

const statuses = [
  { value: "pending", label: "Pending" },
  { value: "succeeded", label: "Succeeded" },
  { value: "exhausted", label: "Exhausted" },
  { value: "cancelled", label: "Cancelled" },
  { value: "exhausted,cancelled", label: "Ended without success" },
];

const outcomes = outcomeNames.map((value) => ({ value, label: outcomeLabel(value) }));

export default function Deliveries() {
  const { filter, set: setFilter, filtered } = useFilters(route);
  const list = useInfiniteQuery(deliveryList(filter));
  const [selected, setSelected] = useState<Set<string>>(new Set());
  const set = (change: Partial<DeliveryFilter>) => {
    setSelected(new Set());
    setFilter(change);
  };
  return (
    <Page
      title="Deliveries"
      lead="One event to one subscription each, with every attempt."
      actions={
        <>
          <ButtonLink variant="default" to="/ui/live" leftSection={<IconRoute size={16} />}>
            Live tail
          </ButtonLink>
          <ButtonLink
            variant="default"
            to="/ui/replays"
            search={{ start: "failed", subscription: filter.subscription, since: filter.since }}
            leftSection={<IconRepeat size={16} />}
          >
            Replay failed…
          </ButtonLink>
        </>
      }
    >
      <Filters label="Filter deliveries">
        <ChoiceFilter label="Status" choices={statuses} value={filter.status} onChange={(status) => set({ status })} />
        <ChoiceFilter
          label="Outcome"
          choices={outcomes}
          value={filter.outcome}
          onChange={(outcome) => set({ outcome })}
        />
        <TextFilter
          label="HTTP code"
          placeholder="HTTP code"
          width={120}
          value={filter.code}
          accept={/^[1-5]\d\d$/}
          onChange={(code) => set({ code })}
        />
        <TextFilter
          label="Type"
          placeholder="Type, like order.*"
          width={170}
          value={filter.type}
          onChange={(type) => set({ type })}
        />
        <SubscriptionFilter value={filter.subscription} onChange={(subscription) => set({ subscription })} />
        <TimeFilter since={filter.since} until={filter.until} onChange={set} />
        {filter.replay && (
          <Button
            size="xs"
            variant="light"
            rightSection={<IconX size={12} />}
            onClick={() => set({ replay: undefined })}
            aria-label="Of one replay: clear"
          >
            Of one replay
          </Button>
        )}
      </Filters>
      <Bulk filter={filter} rows={rowsOf(list.data)} selected={selected} onDone={() => setSelected(new Set())} />
      <List
        label="Deliveries"
        query={list}
        columns={deliveryColumns}
        keyOf={(d) => d.id}
        selection={{ selected, onChange: setSelected, name: (d) => `${d.event_type} to ${hostPath(d.url)}` }}
        none={<NoDeliveries filtered={filtered} />}
      />
    </Page>
  );
}

function NoDeliveries({ filtered }: { filtered: boolean }) {
  if (filtered) return <NoMatch what="delivery" />;
  return (
    <Empty
      title="No deliveries yet"
      action={
        <ButtonLink to="/ui/start" size="xs">
          Send the first one
        </ButtonLink>
      }
    >
      A delivery is made for every subscription that wants an event.
    </Empty>
  );
}
