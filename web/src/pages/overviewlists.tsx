import { Text } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { hostPath } from "../components/format";
import { ButtonLink } from "../components/link";
import { Card } from "../components/page";
import { type Column, Rows, rowLink } from "../components/rows";
import { Empty, Loaded } from "../components/states";
import { DeliveryBadge, StatusBadge } from "../components/status";
import { SubscriptionName } from "../components/subscriptionname";
import { Time } from "../components/time";
import { type Delivery, deliveryList } from "../data/deliveries";
import { inTrouble, type Subscription, subscriptionChoices } from "../data/subscriptions";
import { LaneBadges } from "./lane";

const name: Column<Subscription> = {
  title: "Subscription",
  width: "minmax(120px, 2fr)",
  narrow: "line",
  cell: (s) => (
    <Link to="/ui/subscriptions/$id" params={{ id: s.id }} className={rowLink}>
      {s.description || hostPath(s.url)}
    </Link>
  ),
};

const troubleColumns: Column<Subscription>[] = [
  name,
  { title: "Status", width: "110px", cell: (s) => <StatusBadge kind="subscription" status={s.status} /> },
  { title: "What is wrong", width: "minmax(160px, 2fr)", cell: (s) => <Trouble s={s} /> },
];

function Trouble({ s }: { s: Subscription }) {
  if (s.status === "disabled") return <>{s.disabled_reason === "gone" ? "answered 410 Gone" : "failed for too long"}</>;
  return <LaneBadges lane={s.lane} />;
}

/** The subscriptions a person should look at, if there are any. */
export function InTrouble() {
  const bad = useQuery(subscriptionChoices()).data?.filter(inTrouble) ?? [];
  if (bad.length === 0) return null;
  return (
    <Card title="Needs attention" flush>
      <Rows label="Subscriptions in trouble" columns={troubleColumns} rows={bad} keyOf={(s) => s.id} />
    </Card>
  );
}

const deliveryColumns: Column<Delivery>[] = [
  {
    title: "Event type",
    width: "minmax(100px, 1fr)",
    narrow: "line",
    cell: (d) => (
      <Link to="/ui/deliveries/$id" params={{ id: d.id }} className={rowLink}>
        {d.event_type}
      </Link>
    ),
  },
  {
    title: "To",
    width: "minmax(90px, 1fr)",
    narrow: "hidden",
    cell: (d) => <SubscriptionName id={d.subscription_id} url={d.url} />,
  },
  { title: "Status", width: "112px", cell: (d) => <DeliveryBadge status={d.status} attempts={d.attempts} /> },
  { title: "Created", width: "74px", align: "right", cell: (d) => <Time at={d.created_at} /> },
];

export function RecentDeliveries() {
  const list = useInfiniteQuery(deliveryList({}, 8));
  return (
    <Card
      title="Latest deliveries"
      flush
      actions={
        <ButtonLink to="/ui/live" size="xs" variant="default">
          Live tail
        </ButtonLink>
      }
    >
      <Loaded query={list}>
        {({ pages }) => {
          const rows = (pages[0]?.data ?? []).slice(0, 8);
          return rows.length === 0 ? (
            <Empty small title="No deliveries yet" />
          ) : (
            <Rows label="Latest deliveries" columns={deliveryColumns} rows={rows} keyOf={(d) => d.id} />
          );
        }}
      </Loaded>
    </Card>
  );
}

const changeColumns: Column<Subscription>[] = [
  name,
  { title: "Status", width: "110px", cell: (s) => <StatusBadge kind="subscription" status={s.status} /> },
  {
    title: "Changed",
    width: "120px",
    align: "right",
    cell: (s) => (
      <Text span size="sm" c="dimmed">
        {s.updated_at === s.created_at ? "created " : "changed "}
        <Time at={s.updated_at} />
      </Text>
    ),
  },
];

/** The subscriptions changed last. */
export function RecentChanges() {
  const query = useQuery(subscriptionChoices());
  return (
    <Card title="What changed recently" flush>
      <Loaded query={query}>
        {(all) => {
          const rows = [...all].sort((a, b) => b.updated_at.localeCompare(a.updated_at)).slice(0, 8);
          return rows.length === 0 ? (
            <Empty small title="Nothing yet" />
          ) : (
            <Rows label="Recently changed subscriptions" columns={changeColumns} rows={rows} keyOf={(s) => s.id} />
          );
        }}
      </Loaded>
    </Card>
  );
}
