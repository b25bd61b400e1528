import { Alert, Group, Stack, Text } from "@mantine/core";
import { IconCheck } from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { Id } from "../components/copy";
import { ButtonLink } from "../components/link";
import { Card, Page } from "../components/page";
import { useCreateSubscription } from "../data/subscriptions";
import { CodeSamples } from "./samples";
import { SubscriptionForm, showErrors } from "./subscriptionform";

export default function NewSubscription() {
  const navigate = useNavigate();
  const create = useCreateSubscription();
  const made = create.data;
  if (made) {
    return (
      <Page title="Subscription created" back={{ to: "/ui/subscriptions", label: "Subscriptions" }}>
        <Alert color="teal" variant="light" icon={<IconCheck />} title={made.url} role="status">
          <Stack gap="xs">
            <Text size="sm">
              Give the receiver this secret, to verify signatures with. It can be read again on the subscription’s page.
            </Text>
            <Id value={made.secret} what="secret" />
            <Group>
              <ButtonLink to="/ui/subscriptions/$id" params={{ id: made.id }} size="xs">
                Open the subscription
              </ButtonLink>
            </Group>
          </Stack>
        </Alert>
        <Card title="Verify deliveries">
          <CodeSamples />
        </Card>
      </Page>
    );
  }
  return (
    <Page title="Create a subscription" back={{ to: "/ui/subscriptions", label: "Subscriptions" }}>
      <Card>
        <SubscriptionForm
          error={create.error}
          busy={create.isPending}
          onSubmit={(input, form) => create.mutate(input, { onError: (e) => showErrors(form, e) })}
          onCancel={() => void navigate({ to: "/ui/subscriptions" })}
        />
      </Card>
    </Page>
  );
}
