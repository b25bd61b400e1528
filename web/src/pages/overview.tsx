import { Group, SimpleGrid, Skeleton, Stack, Text } from "@mantine/core";
import { IconBolt, IconRocket } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { count, milliseconds, percent, rate } from "../components/format";
import { ButtonLink } from "../components/link";
import { Card, Page } from "../components/page";
import { RangeChoice, readRange } from "../components/ranges";
import { Stat } from "../components/stat";
import { Empty, ProblemAlert } from "../components/states";
import { queue } from "../data/queue";
import { moodOf, type StatsView, stats, successRate } from "../data/stats";
import { subscriptionChoices } from "../data/subscriptions";
import { BacklogFigures } from "./backlog";
import { InTrouble, RecentChanges, RecentDeliveries } from "./overviewlists";
import { latencySeries, perSecond, rateSeries } from "./series";

const Chart = lazy(() => import("../components/chart"));
const route = getRouteApi("/");

export default function Overview() {
  const { range } = route.useSearch();
  const navigate = route.useNavigate();
  const chosen = readRange(range);
  const view = useQuery(stats(chosen));
  const subscriptions = useQuery(subscriptionChoices());
  const fresh = subscriptions.data?.length === 0;
  return (
    <Page
      title="Overview"
      actions={
        <>
          <RangeChoice
            value={chosen}
            onChange={(range) => void navigate({ search: range ? { range } : {}, replace: true })}
          />
          <ButtonLink to="/ui/events/publish" leftSection={<IconBolt size={16} />}>
            Publish
          </ButtonLink>
        </>
      }
    >
      {fresh && <Welcome />}
      {view.error && !view.data && <ProblemAlert error={view.error} retry={() => void view.refetch()} />}
      <Figures view={view.data} />
      <InTrouble />
      <SimpleGrid cols={{ base: 1, lg: 2 }}>
        <Card title="Attempts a second">
          <ChartOrWait view={view.data} kind="rate" />
        </Card>
        <Card title="Time from acceptance to success">
          <ChartOrWait view={view.data} kind="latency" />
        </Card>
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, lg: 2 }}>
        <RecentDeliveries />
        <RecentChanges />
      </SimpleGrid>
    </Page>
  );
}

function Welcome() {
  return (
    <Card>
      <Empty
        title="Welcome to Posthorn"
        icon={<IconRocket size={26} stroke={1.6} />}
        action={<ButtonLink to="/ui/start">Send the first webhook</ButtonLink>}
      >
        There are no subscriptions yet. In a minute you can see the first delivery arrive.
      </Empty>
    </Card>
  );
}

function Figures({ view }: { view?: StatsView }) {
  const backlog = useQuery(queue()).data;
  const totals = view?.totals;
  const seconds = view ? (Date.parse(view.until) - Date.parse(view.since)) / 1000 : 1;
  const share = totals && successRate(totals);
  const ms = (n: number | null | undefined) => (n == null ? "–" : milliseconds(n));
  return (
    <SimpleGrid cols={{ base: 2, sm: 3, lg: 5 }}>
      <Stat
        name="Delivered"
        value={totals ? rate(totals.succeeded / seconds) : "–"}
        note={totals && `${count(totals.succeeded)} deliveries, ${count(totals.accepted)} events accepted`}
      />
      <Stat
        name="Attempts that succeeded"
        value={share === undefined ? "–" : percent(share)}
        note={totals && `${count(totals.failed)} failed, ${count(totals.exhausted)} given up`}
        mood={moodOf(share)}
      />
      <Stat
        name="Latency p95"
        value={ms(totals?.latency.p95_ms)}
        note={totals && `p50 ${ms(totals.latency.p50_ms)}, p99 ${ms(totals.latency.p99_ms)}`}
      />
      <BacklogFigures backlog={backlog} />
    </SimpleGrid>
  );
}

function ChartOrWait({ view, kind }: { view?: StatsView; kind: "rate" | "latency" }) {
  const wait = <Skeleton height={240} />;
  if (!view) return wait;
  if (view.totals.attempts === 0) {
    return (
      <Stack h={240} justify="center" align="center">
        <Text size="sm" c="dimmed">
          Nothing was sent in this time.
        </Text>
      </Stack>
    );
  }
  return (
    <Suspense fallback={wait}>
      <Group grow>
        {kind === "rate" ? (
          <Chart {...rateSeries(view)} kind="area" unit={perSecond} label="Attempts a second, succeeded and failed" />
        ) : (
          <Chart {...latencySeries(view)} kind="points" unit={milliseconds} label="Latency, p50, p95 and p99" />
        )}
      </Group>
    </Suspense>
  );
}
