// What a bin of the built-in test receiver got, as it comes in.
import { Accordion, Badge, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Headers } from "../components/headers";
import { JsonView } from "../components/json";
import { Card } from "../components/page";
import { Empty, Loaded } from "../components/states";
import { Time } from "../components/time";
import { bin, type Received } from "../data/play";

export function Bin({ name }: { name: string }) {
  const query = useQuery(bin(name));
  return (
    <Card title="What the test receiver got">
      <Loaded query={query}>
        {(received) =>
          !received || received.length === 0 ? (
            <Empty small title="Nothing yet">
              Every request that reaches it appears here.
            </Empty>
          ) : (
            <Accordion variant="separated" defaultValue={received[0]?.at} key={received[0]?.at}>
              {received.slice(0, 20).map((r) => (
                <Entry key={r.at} request={r} />
              ))}
            </Accordion>
          )
        }
      </Loaded>
    </Card>
  );
}

function Entry({ request: r }: { request: Received }) {
  const type = r.headers["Webhook-Event-Type"]?.[0] ?? "a request";
  const own = Object.fromEntries(
    Object.entries(r.headers).filter(([n]) => /^(webhook-|content-type|user-agent)/i.test(n)),
  );
  return (
    <Accordion.Item value={r.at}>
      <Accordion.Control>
        <Group gap="sm">
          <Text size="sm" fw={550}>
            {type}
          </Text>
          <Badge color={r.status < 300 ? "teal" : "red"}>answered {r.status}</Badge>
          <Text size="xs" c="dimmed">
            <Time at={r.at} />
          </Text>
        </Group>
      </Accordion.Control>
      <Accordion.Panel>
        <Stack gap="sm">
          <Headers headers={own} label="Request headers" />
          <JsonView text={r.body} label="Request body" maxHeight={240} />
        </Stack>
      </Accordion.Panel>
    </Accordion.Item>
  );
}
