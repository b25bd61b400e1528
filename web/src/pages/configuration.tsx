import { Badge, Box, SimpleGrid, Stack, Switch, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Id } from "../components/copy";
import { bytes, count, span } from "../components/format";
import { Card, Fact } from "../components/page";
import { type Column, Rows } from "../components/rows";
import { Loaded } from "../components/states";
import { type SettingsView, settings, type Variable } from "../data/settings";

/** The configuration in force: what everyone may know, and every variable for administrators. */
export function Configuration() {
  const query = useQuery(settings());
  return (
    <Loaded query={query}>
      {(s) => (
        <Stack>
          <Limits settings={s} />
          {s.variables.length > 0 && <Variables variables={s.variables} />}
        </Stack>
      )}
    </Loaded>
  );
}

const limit = (l: SettingsView["tenant_limit"]) => (l ? `${count(l.limit)} events a ${l.per}` : "none");
const stores = { sqlite: "SQLite, embedded", postgres: "PostgreSQL" };

function Limits({ settings: s }: { settings: SettingsView }) {
  return (
    <Card title="In force">
      <SimpleGrid cols={{ base: 2, sm: 3, lg: 4 }} spacing="md">
        <Fact name="Version">{s.version}</Fact>
        <Fact name="Runs on">{s.runtime}</Fact>
        <Fact name="Store">{stores[s.store]}</Fact>
        <Fact name="Redis">{s.redis ? "used" : "not used"}</Fact>
        <Fact name="History is kept for">{span(s.retention_seconds)}</Fact>
        <Fact name="Cleanup every">{span(s.cleanup_seconds)}</Fact>
        <Fact name="Held deliveries wait for">{span(s.hold_seconds)}</Fact>
        <Fact name="Disabled after failing for">{span(s.disable_after_seconds)}</Fact>
        <Fact name="Largest payload">{bytes(s.max_event_bytes)}</Fact>
        <Fact name="Largest batch">
          {count(s.max_batch_events)} events, {bytes(s.max_batch_bytes)}
        </Fact>
        <Fact name="Publishing, this tenant">{limit(s.tenant_limit)}</Fact>
        <Fact name="Publishing, all together">{limit(s.publish_limit)}</Fact>
        <Fact name="Roles of this node">{s.roles.join(", ")}</Fact>
        <Fact name="Development mode">{s.development ? "on" : "off"}</Fact>
        <Fact name="Node that answered">
          <Id value={s.node} />
        </Fact>
      </SimpleGrid>
    </Card>
  );
}

const columns: Column<Variable>[] = [
  {
    title: "Variable",
    width: "minmax(220px, 1fr)",
    narrow: "line",
    cell: (v) => (
      <Text span ff="monospace" size="xs">
        {v.name}
      </Text>
    ),
  },
  {
    title: "Value",
    width: "minmax(180px, 1.2fr)",
    narrow: "line",
    cell: (v) => (
      <Text span ff="monospace" size="xs" title={v.value} c={v.value ? undefined : "dimmed"}>
        {v.value || "not set"}
      </Text>
    ),
  },
  { title: "Set", width: "80px", cell: (v) => v.changed && <Badge>changed</Badge> },
  {
    title: "What it does",
    width: "minmax(200px, 2fr)",
    narrow: "line",
    cell: (v) => (
      <Box py={8} style={{ whiteSpace: "normal" }}>
        <Text size="xs" c="dimmed">
          {v.description}
        </Text>
      </Box>
    ),
  },
];

function Variables({ variables }: { variables: Variable[] }) {
  const [changed, setChanged] = useState(false);
  return (
    <Card
      title="Variables"
      flush
      actions={
        <Switch
          size="xs"
          label="Only what differs from the default"
          checked={changed}
          onChange={(e) => setChanged(e.currentTarget.checked)}
        />
      }
    >
      <Rows
        label="Variables"
        columns={columns}
        rows={changed ? variables.filter((v) => v.changed) : variables}
        keyOf={(v) => v.name}
      />
      <Text size="xs" c="dimmed" p="md">
        Of the node that answered. A change takes a restart; passwords and keys are masked.
      </Text>
    </Card>
  );
}
