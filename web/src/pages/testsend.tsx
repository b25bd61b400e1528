import { Button, Stack, Text } from "@mantine/core";
import { IconSend } from "@tabler/icons-react";
import { Explanation } from "../components/explanation";
import { Card } from "../components/page";
import { Empty, ProblemAlert } from "../components/states";
import { type Subscription, useTestSend } from "../data/subscriptions";
import { AttemptDetail } from "./attempt";

/** Sends posthorn.test through the real pipeline and shows the signed request and the answer. */
export function TestSend({ subscription }: { subscription: Subscription }) {
  const test = useTestSend();
  const result = test.data;
  return (
    <Stack>
      <Card>
        <Stack align="flex-start" gap="sm">
          <Text size="sm">
            Sends an event of the type <code>posthorn.test</code> to this subscription alone, signed and delivered like
            any other.
          </Text>
          <Button
            leftSection={<IconSend size={16} />}
            loading={test.isPending}
            onClick={() => test.mutate(subscription.id)}
            disabled={subscription.status !== "active"}
          >
            {result ? "Send another test" : "Send a test"}
          </Button>
          {subscription.status !== "active" && (
            <Text size="xs" c="dimmed">
              It is {subscription.status}: resume it first.
            </Text>
          )}
          {test.error && <ProblemAlert error={test.error} />}
        </Stack>
      </Card>
      {result?.attempt && <AttemptDetail attempt={result.attempt} delivery={result.delivery} />}
      {result && !result.attempt && (
        <Card>
          <Empty title="No attempt was made in time">
            <Explanation text={result.delivery.explanation} />
          </Empty>
        </Card>
      )}
    </Stack>
  );
}
