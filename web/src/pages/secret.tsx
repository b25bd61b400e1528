import { Alert, Button, Group, Modal, Select, Stack, Text } from "@mantine/core";
import { IconEye, IconKey, IconRefresh } from "@tabler/icons-react";
import { useState } from "react";
import { Id } from "../components/copy";
import { Card, Fact } from "../components/page";
import { ProblemAlert } from "../components/states";
import { Time } from "../components/time";
import { type SecretView, useReveal, useRotate } from "../data/secrets";
import type { Subscription } from "../data/subscriptions";

/** The signing secret: shown only when asked for, and rotated with an overlap so that no receiver misses a delivery. */
export function Secret({ subscription }: { subscription: Subscription }) {
  const reveal = useReveal();
  const [rotating, setRotating] = useState(false);
  const [rotated, setRotated] = useState<SecretView>();
  const shown = rotated ?? reveal.data;
  return (
    <Card
      title="Signing secret"
      actions={
        <>
          {!shown && (
            <Button
              size="xs"
              variant="default"
              leftSection={<IconEye size={14} />}
              loading={reveal.isPending}
              onClick={() => reveal.mutate(subscription.id)}
            >
              Reveal
            </Button>
          )}
          <Button size="xs" variant="default" leftSection={<IconRefresh size={14} />} onClick={() => setRotating(true)}>
            Rotate
          </Button>
        </>
      }
    >
      {reveal.error && <ProblemAlert error={reveal.error} />}
      {shown ? (
        <Shown secret={shown} fresh={!!rotated} />
      ) : (
        <Group gap="xs">
          <IconKey size={16} aria-hidden />
          <Text size="sm" c="dimmed">
            Every delivery is signed with it (Standard Webhooks). Receivers need it to verify.
          </Text>
        </Group>
      )}
      {rotating && (
        <Rotate
          subscription={subscription}
          onClose={() => setRotating(false)}
          onDone={(secret) => {
            setRotated(secret);
            setRotating(false);
          }}
        />
      )}
    </Card>
  );
}

function Shown({ secret, fresh }: { secret: SecretView; fresh: boolean }) {
  return (
    <Stack gap="sm">
      {fresh && (
        <Alert color="teal" variant="light" title="Rotated" role="status">
          New deliveries carry the signatures of both secrets until the old one ends. Give the receiver the new one.
        </Alert>
      )}
      <Fact name="Secret">
        <Id value={secret.secret} what="secret" />
      </Fact>
      {secret.public_key && (
        <Fact name="Public key, for receivers">
          <Id value={secret.public_key} what="public key" />
        </Fact>
      )}
      <Fact name="Made">
        <Time at={secret.created_at} as="full" />
      </Fact>
      {secret.previous.map((p) => (
        <Fact key={p.secret} name="Previous, still signing">
          <Group gap="xs">
            <Id value={p.secret} what="previous secret" />
            <Text size="xs" c="dimmed">
              ends <Time at={p.expires_at} />
            </Text>
          </Group>
        </Fact>
      ))}
    </Stack>
  );
}

const overlaps = [
  { value: "86400", label: "24 hours" },
  { value: "3600", label: "1 hour" },
  { value: "604800", label: "7 days" },
  { value: "0", label: "at once: deliveries signed with the old one are refused by receivers" },
];

interface RotateProps {
  subscription: Subscription;
  onClose: () => void;
  onDone: (secret: SecretView) => void;
}

function Rotate({ subscription, onClose, onDone }: RotateProps) {
  const rotate = useRotate();
  const [overlap, setOverlap] = useState("86400");
  return (
    <Modal opened onClose={onClose} title="Rotate the signing secret">
      <Stack>
        <Text size="sm">
          A new secret is made and signs from now on. For the time of the overlap the old one signs too, so that the
          receiver can change without missing anything.
        </Text>
        <Select
          label="The old one ends"
          data={overlaps}
          value={overlap}
          onChange={(v) => v && setOverlap(v)}
          allowDeselect={false}
        />
        {rotate.error && <ProblemAlert error={rotate.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Close
          </Button>
          <Button
            loading={rotate.isPending}
            onClick={() => rotate.mutate({ id: subscription.id, overlap: Number(overlap) }, { onSuccess: onDone })}
          >
            Rotate
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
