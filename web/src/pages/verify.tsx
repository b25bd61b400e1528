// The signature of an attempt, taken apart: what was signed, what came of it, and whether that is what was sent.
import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { IconAlertTriangle, IconCheck, IconShieldCheck } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { JsonView } from "../components/json";
import { TextLink } from "../components/link";
import { Card, Fact } from "../components/page";
import { ProblemAlert } from "../components/states";
import type { Attempt } from "../data/attempts";
import type { Delivery } from "../data/deliveries";
import { useReveal } from "../data/secrets";
import { canSign, signedContent, signV1 } from "../data/signature";

function header(attempt: Attempt, name: string): string {
  const found = Object.entries(attempt.request.headers).find(([n]) => n.toLowerCase() === name);
  return found?.[1]?.join(" ") ?? "";
}

interface Props {
  attempt: Attempt;
  delivery: Delivery;
  body: string | undefined;
}

export function VerifySignature({ attempt, delivery, body }: Props) {
  const reveal = useReveal();
  const sent = header(attempt, "webhook-signature");
  const content = signedContent(header(attempt, "webhook-id"), header(attempt, "webhook-timestamp"), body ?? "");
  const check = useMutation({
    mutationFn: async () => {
      const { secret, previous } = await reveal.mutateAsync(delivery.subscription_id);
      const all = [secret, ...previous.map((p) => p.secret)].filter((s) => s.startsWith("whsec_"));
      return Promise.all(all.map((s) => signV1(s, content)));
    },
    gcTime: 0,
  });
  if (!sent || body === undefined) return null;
  const matches = check.data?.some((s) => sent.split(" ").includes(s));
  return (
    <Card
      title="Signature"
      actions={
        <Button
          size="xs"
          variant="default"
          leftSection={<IconShieldCheck size={14} />}
          onClick={() => check.mutate()}
          loading={check.isPending}
          disabled={!canSign()}
          title={canSign() ? undefined : "Browsers compute signatures only over https and on localhost"}
        >
          Verify
        </Button>
      }
    >
      <Stack gap="sm">
        <Fact name="webhook-signature, as sent">
          <Text ff="monospace" size="xs">
            {sent}
          </Text>
        </Fact>
        <div>
          <Text size="xs" c="dimmed" mb={4}>
            Signed: webhook-id, webhook-timestamp and the body as it was sent, joined by dots
          </Text>
          <JsonView text={content} label="Signed content" maxHeight={140} />
        </div>
        {check.error && <ProblemAlert error={check.error} />}
        {check.data?.length === 0 && (
          <Text size="sm">
            This subscription signs with an asymmetric key (v1a): receivers verify with its public key.
          </Text>
        )}
        {check.data && check.data.length > 0 && (
          <Alert
            color={matches ? "teal" : "orange"}
            variant="light"
            icon={matches ? <IconCheck /> : <IconAlertTriangle />}
            title={matches ? "The signature is right" : "No present secret gives this signature"}
            role="status"
          >
            <Stack gap={4}>
              <Text size="sm">
                {matches
                  ? "A receiver that gets another result uses another secret, or signs a body that was parsed and written again."
                  : "The secret was rotated since this attempt was made."}
              </Text>
              <Text ff="monospace" size="xs" style={{ overflowWrap: "anywhere" }}>
                {check.data.join(" ")}
              </Text>
            </Stack>
          </Alert>
        )}
        <Group>
          <TextLink
            to="/ui/subscriptions/$id"
            params={{ id: delivery.subscription_id }}
            search={{ tab: "verify" }}
            size="sm"
          >
            How to verify it in your language
          </TextLink>
        </Group>
      </Stack>
    </Card>
  );
}
