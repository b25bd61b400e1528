import { Group, Stack, Tabs, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Id } from "../components/copy";
import { hostPath } from "../components/format";
import { Card, Page } from "../components/page";
import { Loading, ProblemAlert } from "../components/states";
import { StatusBadge } from "../components/status";
import { subscriptionById } from "../data/subscriptions";
import { FilterTrial } from "./filtertrial";
import { Held } from "./held";
import { LaneBadges } from "./lane";
import { CodeSamples } from "./samples";
import { Secret } from "./secret";
import { SubscriptionActions } from "./subscriptionactions";
import { SubscriptionHealth } from "./subscriptionhealth";
import { SubscriptionSettings } from "./subscriptionsettings";
import { TestSend } from "./testsend";

const route = getRouteApi("/ui/subscriptions/$id");

export default function SubscriptionPage() {
  const { id } = route.useParams();
  const { tab = "health" } = route.useSearch();
  const navigate = route.useNavigate();
  const query = useQuery(subscriptionById(id));
  const back = { to: "/ui/subscriptions", label: "Subscriptions" } as const;
  const s = query.data;
  if (!s) {
    return (
      <Page title="Subscription" lead={<Id value={id} />} back={back}>
        {query.error ? <ProblemAlert error={query.error} retry={() => void query.refetch()} /> : <Loading />}
      </Page>
    );
  }
  const name = s.description || hostPath(s.url);
  return (
    <Page
      title={name}
      back={back}
      heading={
        <Group gap="xs">
          <Title order={1} size="h2" style={{ overflowWrap: "anywhere" }}>
            {name}
          </Title>
          <StatusBadge kind="subscription" status={s.status} />
          <LaneBadges lane={s.lane} />
        </Group>
      }
      lead={<Id value={s.id} />}
      actions={<SubscriptionActions subscription={s} />}
    >
      <Held subscription={s} />
      <Tabs
        value={tab}
        onChange={(next) => void navigate({ search: { tab: next ?? undefined }, replace: true })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="health">Health</Tabs.Tab>
          <Tabs.Tab value="test">Test</Tabs.Tab>
          <Tabs.Tab value="verify">Secret and verification</Tabs.Tab>
          <Tabs.Tab value="settings">Settings</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="health">
          <SubscriptionHealth subscription={s} />
        </Tabs.Panel>
        <Tabs.Panel value="test">
          <Stack>
            <TestSend subscription={s} />
            <FilterTrial subscription={s} />
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="verify">
          <Stack>
            <Secret subscription={s} />
            <Card title="Verify deliveries">
              <CodeSamples />
            </Card>
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="settings">
          <SubscriptionSettings subscription={s} />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
