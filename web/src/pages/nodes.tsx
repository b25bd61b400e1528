import { Badge, Box, Button, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { useNow } from "../components/clock";
import { Id } from "../components/copy";
import { bytes, count, rate, span } from "../components/format";
import { TextLink } from "../components/link";
import { Fact } from "../components/page";
import { Empty, ProblemAlert } from "../components/states";
import { Time } from "../components/time";
import { useDrain, type Worker } from "../data/workers";

const colors = { alive: "teal", draining: "yellow", late: "orange", dead: "red" } as const;
const words = { alive: "Alive", draining: "Draining", late: "Late", dead: "Dead" } as const;

export function Nodes({ nodes }: { nodes: Worker[] }) {
  if (nodes.length === 0) return <Empty title="No worker has reported within a day" />;
  return (
    <Stack gap={0}>
      {nodes.map((n) => (
        <Box key={n.id} p="md" style={{ borderTop: "1px solid var(--ph-line)" }}>
          <Node node={n} />
        </Box>
      ))}
    </Stack>
  );
}

function Node({ node: n }: { node: Worker }) {
  const drain = useDrain();
  const ask = () =>
    modals.openConfirmModal({
      title: `Drain ${n.hostname}`,
      children: (
        <Text size="sm">
          It finishes what is in flight and claims nothing more until it is restarted. Others take up its lanes.
        </Text>
      ),
      labels: { confirm: "Drain", cancel: "Keep it working" },
      onConfirm: () => drain.mutate(n.id),
    });
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Group gap="xs">
          <Text fw={600} component="h3" size="sm">
            {n.hostname}
          </Text>
          <Badge color={colors[n.status]}>{words[n.status]}</Badge>
          {n.roles.map((r) => (
            <Badge key={r} color="gray">
              {r}
            </Badge>
          ))}
        </Group>
        {n.status === "alive" && n.roles.includes("worker") && (
          <Button size="xs" variant="default" onClick={ask} loading={drain.isPending}>
            Drain…
          </Button>
        )}
      </Group>
      {drain.error && <ProblemAlert error={drain.error} />}
      <SimpleGrid cols={{ base: 2, sm: 4, lg: 8 }} spacing="sm">
        <Fact name="Heartbeat">
          <Time at={n.last_seen_at} />
        </Fact>
        <Fact name="Version">{n.version}</Fact>
        <Fact name="Up for">{span(n.uptime_seconds)}</Fact>
        <Fact name="In flight">
          {count(n.in_flight)}{" "}
          <Text span c="dimmed">
            of {count(n.held)} claimed
          </Text>
        </Fact>
        <Fact name="Lanes">{count(n.lanes)}</Fact>
        <Fact name="Delivering">{rate(n.delivered_per_second)}</Fact>
        <Fact name="Memory">{bytes(n.memory_bytes)}</Fact>
        <Fact name="Goroutines">{count(n.goroutines)}</Fact>
      </SimpleGrid>
      {n.last_error && (
        <Text size="xs" c="var(--mantine-color-error)">
          <Time at={n.last_error_at} />: {n.last_error}
        </Text>
      )}
      <Doing doing={n.doing} />
      <Id value={n.id} />
    </Stack>
  );
}

/** The attempts a node has in flight, the oldest first. */
function Doing({ doing }: { doing: Worker["doing"] }) {
  const now = useNow();
  if (doing.length === 0) return null;
  return (
    <Stack gap={2}>
      <Text size="xs" c="dimmed">
        In flight now
      </Text>
      {doing.slice(0, 5).map((d) => (
        <Text size="xs" key={d.delivery_id + d.attempt}>
          <TextLink to="/ui/deliveries/$id" params={{ id: d.delivery_id }} inherit underline="always">
            {d.delivery_id}
          </TextLink>{" "}
          attempt {d.attempt}, for {span((now - Date.parse(d.since)) / 1000)}
        </Text>
      ))}
      {doing.length > 5 && (
        <Text size="xs" c="dimmed">
          and {doing.length - 5} more
        </Text>
      )}
    </Stack>
  );
}
