import { Button, Code, Group, Stack, Text, Title } from "@mantine/core";
import { IconBolt, IconRepeat } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { CopyAs, Id } from "../components/copy";
import { Explanation } from "../components/explanation";
import { bytes, count, hostPath } from "../components/format";
import { Headers } from "../components/headers";
import { indented, JsonView } from "../components/json";
import { ButtonLink, TextLink } from "../components/link";
import { Card, Fact, Facts, Page } from "../components/page";
import { type Column, Rows, rowLink } from "../components/rows";
import { Empty, Loaded, Loading, ProblemAlert } from "../components/states";
import { DeliveryBadge, Outcome, StatusBadge } from "../components/status";
import { SubscriptionName } from "../components/subscriptionname";
import { Time } from "../components/time";
import type { EventStatus } from "../data/api";
import { type EventWithPayload, eventById, eventStatus, payloadText } from "../data/events";
import { filterVerdict } from "../data/filters";
import { type Subscription, subscriptionChoices, wants } from "../data/subscriptions";
import { Replay } from "./replay";

const route = getRouteApi("/ui/events/$id");
type DeliveryStatus = EventStatus["deliveries"][number];

export default function EventPage() {
  const { id } = route.useParams();
  const query = useQuery(eventById(id));
  const back = { to: "/ui/events", label: "Events" } as const;
  if (!query.data) {
    return (
      <Page title="Event" lead={<Id value={id} />} back={back}>
        {query.error ? <ProblemAlert error={query.error} retry={() => void query.refetch()} /> : <Loading />}
      </Page>
    );
  }
  return <Detail event={query.data} back={back} />;
}

function Detail({ event, back }: { event: EventWithPayload; back: { to: "/ui/events"; label: string } }) {
  const [replaying, setReplaying] = useState(false);
  const status = useQuery(eventStatus(event.id));
  return (
    <Page
      title={event.type}
      back={back}
      heading={
        <Group gap="sm">
          <Title order={1} size="h2" style={{ overflowWrap: "anywhere" }}>
            {event.type}
          </Title>
          <StatusBadge kind="event" status={event.status} />
        </Group>
      }
      lead={<Id value={event.id} />}
      actions={
        <>
          <ButtonLink
            variant="default"
            to="/ui/events/publish"
            search={{ like: event.id }}
            leftSection={<IconBolt size={16} />}
          >
            Publish one like it
          </ButtonLink>
          <Button
            leftSection={<IconRepeat size={16} />}
            onClick={() => setReplaying(true)}
            disabled={!!event.payload_erased_at}
          >
            Replay
          </Button>
        </>
      }
    >
      <Card>
        <EventFacts event={event} />
      </Card>
      <Card title="Deliveries" flush>
        <Loaded query={status} loading={<Stack p="md">{<Loading rows={2} />}</Stack>}>
          {(s) => <Deliveries status={s} />}
        </Loaded>
      </Card>
      {status.data && !status.data.capped && <NotMatched event={event} deliveries={status.data.deliveries} />}
      <Payload event={event} />
      <Replay event={event} opened={replaying} onClose={() => setReplaying(false)} />
    </Page>
  );
}

function EventFacts({ event }: { event: EventWithPayload }) {
  return (
    <Facts>
      <Fact name="Accepted">
        <Time at={event.created_at} as="full" />
      </Fact>
      <Fact name="Payload">{bytes(event.payload_bytes)}</Fact>
      <Fact name="Content type">{event.content_type}</Fact>
      <Fact name="Idempotency key">{event.idempotency_key ?? "none"}</Fact>
      <Fact name="Ordering key">{event.ordering_key ?? "none"}</Fact>
      {event.deliver_at && (
        <Fact name="Not before">
          <Time at={event.deliver_at} as="full" />
        </Fact>
      )}
      {event.expires_at && (
        <Fact name="Expires">
          <Time at={event.expires_at} as="full" />
        </Fact>
      )}
    </Facts>
  );
}

const columns: Column<DeliveryStatus>[] = [
  {
    title: "Subscription",
    width: "minmax(140px, 1.2fr)",
    narrow: "line",
    cell: (d) => (
      <Link to="/ui/deliveries/$id" params={{ id: d.id }} className={rowLink}>
        <SubscriptionName id={d.subscription_id} url={d.url} />
      </Link>
    ),
  },
  { title: "Status", width: "120px", cell: (d) => <DeliveryBadge status={d.status} attempts={d.attempts} /> },
  {
    title: "Last attempt",
    width: "130px",
    cell: (d) => <Outcome outcome={d.last_outcome} code={d.last_status_code} />,
  },
  {
    title: "Why",
    width: "minmax(200px, 3fr)",
    narrow: "line",
    cell: (d) => (
      <Text size="sm" c="dimmed" py={6} style={{ whiteSpace: "normal" }}>
        <Explanation text={d.explanation} />
      </Text>
    ),
  },
];

function Deliveries({ status }: { status: EventStatus }) {
  if (status.deliveries.length === 0) {
    return (
      <Empty title="No subscription wanted this event">
        It is kept all the same: after creating a subscription for <Code>{status.type}</Code>, replay it.
      </Empty>
    );
  }
  return (
    <>
      <Rows label="Deliveries of this event" columns={columns} rows={status.deliveries} keyOf={(d) => d.id} />
      {status.capped && (
        <Text size="sm" p="md">
          These are the oldest {count(status.deliveries.length)}.{" "}
          <TextLink to="/ui/deliveries" search={{ event: status.event_id }} inherit>
            All of its deliveries
          </TextLink>
        </Text>
      )}
    </>
  );
}

/** Why a subscription has no delivery of an event, as far as its present settings tell. */
export function whyNot(s: Subscription, event: { type: string; created_at: string }): string {
  if (!wants(s.event_types, event.type)) {
    return s.event_types.length === 0
      ? "wants all but Posthorn's own events"
      : `wants only ${s.event_types.join(", ")}`;
  }
  if (s.created_at > event.created_at) return "was created after the event; replay it to send it there";
  return "wants it now, but did not when it was published; replay it to send it there";
}

/** What the subscription's present filter says to the event. */
function Filtered({ subscription: s, event }: { subscription: Subscription; event: EventWithPayload }) {
  const payload = payloadText(event.payload_base64) ?? "null";
  const trial = { subscription: s.id, filter: s.filter ?? "", type: event.type, payload };
  const { data } = useQuery({ ...filterVerdict(trial), enabled: event.payload !== null });
  if (!data) return <>has a filter</>;
  if (data.error) return <>has a filter that fails on it: {data.error}</>;
  return data.matches ? whyNot(s, event) : <>has a filter that it does not fulfil: {s.filter}</>;
}

function NotMatched({ event, deliveries }: { event: EventWithPayload; deliveries: DeliveryStatus[] }) {
  const all = useQuery(subscriptionChoices()).data;
  if (!all) return null;
  const got = new Set(deliveries.map((d) => d.subscription_id));
  const others = all.filter((s) => !got.has(s.id));
  if (others.length === 0) return null;
  const shown = others.slice(0, 10);
  return (
    <Card title="Who did not get it, and why">
      <Stack gap={6}>
        {shown.map((s) => (
          <Text size="sm" key={s.id} style={{ overflowWrap: "anywhere" }}>
            <TextLink to="/ui/subscriptions/$id" params={{ id: s.id }} inherit underline="always">
              {s.description || hostPath(s.url)}
            </TextLink>{" "}
            <Text span c="dimmed">
              {s.filter && wants(s.event_types, event.type) ? (
                <Filtered subscription={s} event={event} />
              ) : (
                whyNot(s, event)
              )}
            </Text>
          </Text>
        ))}
        {others.length > shown.length && (
          <Text size="sm" c="dimmed">
            and {others.length - shown.length} more
          </Text>
        )}
      </Stack>
    </Card>
  );
}

function Payload({ event }: { event: EventWithPayload }) {
  const [pretty, setPretty] = useState(false);
  if (event.payload_erased_at) {
    return (
      <Card title="Payload">
        <Text size="sm">
          Erased on request <Time at={event.payload_erased_at} />.
        </Text>
      </Card>
    );
  }
  const text = payloadText(event.payload_base64);
  return (
    <Card
      title="Payload"
      actions={
        <>
          {event.payload !== null && (
            <Button size="xs" variant="default" onClick={() => setPretty(!pretty)}>
              {pretty ? "As stored" : "Indent"}
            </Button>
          )}
          <CopyAs value={text ?? event.payload_base64 ?? ""}>Copy</CopyAs>
        </>
      }
    >
      <Stack gap="sm">
        <JsonView
          text={text === undefined ? (event.payload_base64 ?? "") : pretty ? indented(text) : text}
          label="Payload"
        />
        <Text size="xs" c="dimmed">
          {text === undefined
            ? "These bytes are not text; they are shown in base64."
            : pretty
              ? "Indented for reading. What is delivered and signed has its own spacing."
              : "Exactly as stored, delivered and signed."}
        </Text>
        {Object.keys(event.headers).length > 0 && <Headers headers={event.headers} label="Headers of the event" />}
      </Stack>
    </Card>
  );
}
