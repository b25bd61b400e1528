import { Alert, Button, Group, Text, Title } from "@mantine/core";
import { IconBan, IconInfoCircle, IconRefresh } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Id } from "../components/copy";
import { Explanation } from "../components/explanation";
import { hostPath, span } from "../components/format";
import { TextLink } from "../components/link";
import { Card, Fact, Facts, Page } from "../components/page";
import { Empty, Loaded, Loading, ProblemAlert } from "../components/states";
import { DeliveryBadge } from "../components/status";
import { SubscriptionName } from "../components/subscriptionname";
import { Due, Time } from "../components/time";
import { Timeline } from "../components/timeline";
import { type Attempt, attemptsOf } from "../data/attempts";
import { type Delivery, deliveryById, useDeliveryChange } from "../data/deliveries";
import { AttemptDetail } from "./attempt";

const route = getRouteApi("/ui/deliveries/$id");

export default function DeliveryPage() {
  const { id } = route.useParams();
  const query = useQuery(deliveryById(id));
  const back = { to: "/ui/deliveries", label: "Deliveries" } as const;
  const d = query.data;
  if (!d) {
    return (
      <Page title="Delivery" lead={<Id value={id} />} back={back}>
        {query.error ? <ProblemAlert error={query.error} retry={() => void query.refetch()} /> : <Loading />}
      </Page>
    );
  }
  return (
    <Page
      title={`${d.event_type} to ${hostPath(d.url)}`}
      back={back}
      heading={
        <Group gap="sm">
          <Title order={1} size="h2" style={{ overflowWrap: "anywhere" }}>
            {d.event_type}
          </Title>
          <DeliveryBadge status={d.status} attempts={d.attempts} />
        </Group>
      }
      lead={<Id value={d.id} />}
      actions={<Actions delivery={d} />}
    >
      <Why delivery={d} />
      <Card>
        <DeliveryFacts delivery={d} />
      </Card>
      <Attempts delivery={d} />
    </Page>
  );
}

function Actions({ delivery }: { delivery: Delivery }) {
  const retry = useDeliveryChange("retry");
  const cancel = useDeliveryChange("cancel");
  const failed = retry.error ?? cancel.error;
  return (
    <>
      {delivery.status === "pending" && (
        <Button
          variant="default"
          leftSection={<IconBan size={16} />}
          loading={cancel.isPending}
          onClick={() => cancel.mutate(delivery.id)}
        >
          Cancel
        </Button>
      )}
      {delivery.status !== "succeeded" && (
        <Button
          leftSection={<IconRefresh size={16} />}
          loading={retry.isPending}
          disabled={delivery.in_flight}
          onClick={() => retry.mutate(delivery.id)}
        >
          Retry now
        </Button>
      )}
      {failed && <ProblemAlert error={failed} />}
    </>
  );
}

const moods = { pending: "blue", succeeded: "teal", exhausted: "red", cancelled: "gray" } as const;

/** Why the delivery is in its state and what happens next, in the API's own words. */
function Why({ delivery }: { delivery: Delivery }) {
  const color = delivery.status === "pending" && delivery.attempts > 0 ? "orange" : moods[delivery.status];
  return (
    <Alert color={color} variant="light" icon={<IconInfoCircle />} role="status" aria-label="Explanation">
      <Text size="sm" component="div">
        <Explanation text={delivery.explanation} />
      </Text>
    </Alert>
  );
}

function DeliveryFacts({ delivery: d }: { delivery: Delivery }) {
  const took = d.completed_at ? (Date.parse(d.completed_at) - Date.parse(d.created_at)) / 1000 : undefined;
  return (
    <Facts>
      <Fact name="Event">
        <TextLink to="/ui/events/$id" params={{ id: d.event_id }} inherit>
          {d.event_type}
        </TextLink>
      </Fact>
      <Fact name="Subscription">
        <TextLink to="/ui/subscriptions/$id" params={{ id: d.subscription_id }} inherit>
          <SubscriptionName id={d.subscription_id} url={d.url} />
        </TextLink>
      </Fact>
      <Fact name="Created">
        <Time at={d.created_at} as="full" />
      </Fact>
      <Fact name="Attempts">{d.attempts}</Fact>
      {d.next_attempt_at && (
        <Fact name="Next attempt">{d.in_flight ? "on its way" : <Due at={d.next_attempt_at} />}</Fact>
      )}
      {d.completed_at && (
        <Fact name="Ended">
          <Time at={d.completed_at} as="full" />{" "}
          {took !== undefined && (
            <Text span c="dimmed">
              after {span(took)}
            </Text>
          )}
        </Fact>
      )}
      {d.ordering_key && <Fact name="Ordering key">{d.ordering_key}</Fact>}
      {d.replay_id && (
        <Fact name="Made by">
          <TextLink to="/ui/deliveries" search={{ replay: d.replay_id }} inherit>
            a replay
          </TextLink>
        </Fact>
      )}
    </Facts>
  );
}

function Attempts({ delivery }: { delivery: Delivery }) {
  const query = useQuery(attemptsOf(delivery.id));
  return (
    <Loaded query={query} loading={<Loading rows={3} height={60} />}>
      {(attempts) =>
        attempts.length === 0 ? (
          <Card title="Attempts">
            <Empty title={delivery.in_flight ? "The first attempt is on its way" : "No attempt yet"}>
              <Explanation text={delivery.explanation} />
            </Empty>
          </Card>
        ) : (
          <Chosen delivery={delivery} attempts={attempts} />
        )
      }
    </Loaded>
  );
}

/** The timeline with the attempt the URL names, or the last one. */
function Chosen({ delivery, attempts }: { delivery: Delivery; attempts: Attempt[] }) {
  const { attempt } = route.useSearch();
  const navigate = route.useNavigate();
  const shown = attempts.find((a) => String(a.number) === attempt) ?? attempts.at(-1);
  return (
    <>
      <Card title={attempts.length === 1 ? "1 attempt" : `${attempts.length} attempts`}>
        <Timeline
          start={Date.parse(delivery.created_at)}
          marks={attempts.map((a) => ({
            number: a.number,
            at: Date.parse(a.started_at),
            outcome: a.outcome,
            code: a.status_code ?? undefined,
          }))}
          next={delivery.next_attempt_at ? Date.parse(delivery.next_attempt_at) : undefined}
          selected={shown?.number}
          onSelect={(n) => void navigate({ search: { attempt: String(n) }, replace: true })}
        />
      </Card>
      {shown && <AttemptDetail key={shown.id} attempt={shown} delivery={delivery} />}
    </>
  );
}
