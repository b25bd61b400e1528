import { Code, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { plural, span } from "../components/format";
import { Headers } from "../components/headers";
import { Card, Fact } from "../components/page";
import { Time } from "../components/time";
import type { EndpointAuth, RetryPolicy } from "../data/api";
import type { Subscription } from "../data/subscriptions";

/** A retry policy in a sentence. */
export function describeRetry(r: RetryPolicy): string {
  if (r.initial !== undefined) {
    return `${plural(r.attempts ?? 1, "attempt")}, first after ${span(r.initial)}, then ×${r.multiplier ?? 1} up to ${span(r.maximum ?? r.initial)}`;
  }
  const delays = r.schedule ?? [];
  if (delays.length === 0) return "a single attempt";
  return `${plural(delays.length + 1, "attempt")}, after ${delays.map(span).join(", ")}`;
}

/** How deliveries are signed, in a few words. */
export function describeSignature({ signature: p, public_key }: Subscription): string {
  const standard = public_key ? "v1a, Ed25519" : "v1, HMAC-SHA256";
  if (!p.profile || p.profile === "standard") return standard;
  const own = `${p.header}, ${p.algorithm}${p.profile === "custom" ? "" : `, as ${p.profile}`}`;
  return p.keep_standard === false ? own : `${own}; and ${standard}`;
}

/** How the receiver knows the sender, in a few words. */
export function describeAuth(a: EndpointAuth | null): string {
  switch (a?.type) {
    case undefined:
      return "none";
    case "bearer":
      return "a bearer token";
    case "basic":
      return `Basic, as ${a.username}`;
    case "api_key":
      return `a key in ${a.header}`;
    case "oauth2_client_credentials":
      return `OAuth 2 as ${a.client_id}, from ${a.token_url}`;
  }
}

export function SubscriptionSettings({ subscription: s }: { subscription: Subscription }) {
  return (
    <Card>
      <Stack>
        <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
          <Fact name="URL">{s.url}</Fact>
          <Fact name="Description">{s.description || "–"}</Fact>
          <Fact name="Event types">
            {s.event_types.length === 0 ? (
              "all"
            ) : (
              <Group gap={4}>
                {s.event_types.map((t) => (
                  <Code key={t}>{t}</Code>
                ))}
              </Group>
            )}
          </Fact>
          {s.filter && (
            <Fact name="Filter">
              <Code>{s.filter}</Code>
            </Fact>
          )}
          <Fact name="Retries">{describeRetry(s.retry)}</Fact>
          {s.retry.final_statuses && s.retry.final_statuses.length > 0 && (
            <Fact name="No retry after">{s.retry.final_statuses.join(", ")}</Fact>
          )}
          {s.retry.window_seconds && <Fact name="Retry window">{span(s.retry.window_seconds)}</Fact>}
          <Fact name="Timeout">{span(s.timeout_seconds)}</Fact>
          <Fact name="Rate limit">{s.rate_limit ? `${s.rate_limit.limit} a ${s.rate_limit.per}` : "none"}</Fact>
          <Fact name="In flight at once">{s.max_in_flight}</Fact>
          <Fact name="Order">
            {s.ordering === "none"
              ? "none"
              : `first in, first out; a failed delivery ${s.on_failure === "skip" ? "lets those behind pass" : "holds those behind"}`}
          </Fact>
          <Fact name="Signatures">{describeSignature(s)}</Fact>
          <Fact name="Authentication">{describeAuth(s.auth)}</Fact>
          {s.tls?.certificate_expires_at && (
            <Fact name="Client certificate until">
              <Time at={s.tls.certificate_expires_at} as="full" />
            </Fact>
          )}
          {s.tls?.ca && <Fact name="Certificate authorities">its own besides the public ones</Fact>}
          <Fact name="Created">
            <Time at={s.created_at} as="full" />
          </Fact>
          <Fact name="Changed">
            <Time at={s.updated_at} as="full" />
          </Fact>
        </SimpleGrid>
        {Object.keys(s.headers).length > 0 && (
          <div>
            <Text size="xs" c="dimmed">
              Headers
            </Text>
            <Headers headers={s.headers} label="Headers" />
          </div>
        )}
        {Object.keys(s.metadata ?? {}).length > 0 && (
          <div>
            <Text size="xs" c="dimmed">
              Metadata
            </Text>
            <Headers headers={s.metadata} label="Metadata" />
          </div>
        )}
      </Stack>
    </Card>
  );
}
