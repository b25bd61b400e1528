// One attempt: the request as it was sent and the response side by side, and where the time went.
import { Badge, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { CopyAs } from "../components/copy";
import { Headers } from "../components/headers";
import { JsonView } from "../components/json";
import { Card } from "../components/page";
import { Outcome, outcomeLabel } from "../components/status";
import { Time } from "../components/time";
import { Waterfall } from "../components/waterfall";
import { type Attempt, asCurl, responseText } from "../data/attempts";
import type { Delivery } from "../data/deliveries";
import { eventById, payloadText } from "../data/events";
import { VerifySignature } from "./verify";

export function AttemptDetail({ attempt, delivery }: { attempt: Attempt; delivery: Delivery }) {
  const event = useQuery(eventById(delivery.event_id));
  const body = payloadText(event.data?.payload_base64 ?? null);
  return (
    <>
      <Card
        title={
          <Group gap="xs">
            Attempt {attempt.number}
            <Outcome outcome={attempt.outcome} code={attempt.status_code} />
            {attempt.manual && <Badge color="violet">by hand</Badge>}
            {attempt.our_fault && (
              <Badge color="gray" title="It does not count against the receiver">
                our fault
              </Badge>
            )}
          </Group>
        }
        actions={
          <>
            <Text size="xs" c="dimmed">
              <Time at={attempt.started_at} as="full" />
            </Text>
            {body !== undefined && <CopyAs value={asCurl(delivery.url, attempt, body)}>Copy as curl</CopyAs>}
          </>
        }
      >
        <Stack gap="sm">
          {(attempt.detail || attempt.outcome !== "succeeded") && (
            <Text size="sm">
              {attempt.detail ?? outcomeLabel(attempt.outcome)}
              {attempt.error && (
                <Text span ff="monospace" size="xs" c="dimmed">
                  {" "}
                  {attempt.error}
                </Text>
              )}
            </Text>
          )}
          <Waterfall
            timing={{
              dns: attempt.timings.dns_ms ?? 0,
              connect: attempt.timings.connect_ms ?? 0,
              tls: attempt.timings.tls_ms ?? 0,
              firstByte: attempt.timings.first_byte_ms ?? 0,
              total: attempt.timings.total_ms,
              reused: attempt.timings.reused,
            }}
          />
        </Stack>
      </Card>
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <Card title="Request">
          <Stack gap="sm">
            <Text size="xs" ff="monospace" style={{ overflowWrap: "anywhere" }}>
              POST {delivery.url}
            </Text>
            <Headers headers={attempt.request.headers} label="Request headers" />
            {body !== undefined && <JsonView text={body} label="Request body" maxHeight={300} />}
          </Stack>
        </Card>
        <Card title="Response">
          <ResponseView attempt={attempt} />
        </Card>
      </SimpleGrid>
      <VerifySignature attempt={attempt} delivery={delivery} body={body} />
    </>
  );
}

function ResponseView({ attempt }: { attempt: Attempt }) {
  if (!attempt.response) {
    return (
      <Text size="sm" c="dimmed">
        No response came: {outcomeLabel(attempt.outcome).toLowerCase()}.
      </Text>
    );
  }
  const { text, binary } = responseText(attempt.response);
  return (
    <Stack gap="sm">
      <Text size="xs" ff="monospace">
        HTTP {attempt.response.status_code}
      </Text>
      <Headers headers={attempt.response.headers} label="Response headers" />
      {text ? (
        <JsonView text={text} label="Response body" maxHeight={300} />
      ) : (
        <Text size="sm" c="dimmed">
          The body is empty.
        </Text>
      )}
      {(binary || attempt.response.body_truncated) && (
        <Text size="xs" c="dimmed">
          {binary ? "The body is not text; it is shown in base64. " : ""}
          {attempt.response.body_truncated ? "Only the first 16 KiB are kept." : ""}
        </Text>
      )}
    </Stack>
  );
}
