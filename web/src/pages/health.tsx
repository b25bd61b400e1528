import { Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { milliseconds } from "../components/format";
import { Card, Fact } from "../components/page";
import { Loaded } from "../components/states";
import { StatusBadge } from "../components/status";
import { type Component, health } from "../data/health";

export function HealthView() {
  const query = useQuery(health());
  return (
    <Loaded query={query}>
      {(report) => (
        <Stack>
          <Group gap="sm">
            <StatusBadge kind="health" status={report.status} />
            <Text size="sm" c="dimmed">
              Posthorn {report.version}
            </Text>
          </Group>
          <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
            {report.components.map((c) => (
              <Part key={c.name} part={c} />
            ))}
          </SimpleGrid>
        </Stack>
      )}
    </Loaded>
  );
}

const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function Part({ part }: { part: Component }) {
  return (
    <Card title={sentence(part.name)} actions={<StatusBadge kind="health" status={part.status} />}>
      <Stack gap="xs">
        {part.message && <Text size="sm">{part.message}</Text>}
        <SimpleGrid cols={2} spacing="xs">
          <Fact name="Answered in">{milliseconds(part.latency_ms)}</Fact>
          {Object.entries(part.details ?? {}).map(([name, value]) => (
            <Fact key={name} name={sentence(name.replaceAll("_", " "))}>
              {typeof value === "object" ? JSON.stringify(value) : String(value)}
            </Fact>
          ))}
        </SimpleGrid>
      </Stack>
    </Card>
  );
}
