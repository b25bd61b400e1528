import { Button, Checkbox, Group, Modal, Radio, ScrollArea, Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { hostPath, plural } from "../components/format";
import { ProblemAlert } from "../components/states";
import { type EventWithPayload, useReplay } from "../data/events";
import { subscriptionChoices, wants } from "../data/subscriptions";

interface Props {
  event: EventWithPayload;
  opened: boolean;
  onClose: () => void;
}

/** Asks where an event goes again: to all that want it now, or to those chosen. */
export function Replay({ event, opened, onClose }: Props) {
  const all = useQuery(subscriptionChoices()).data ?? [];
  const [which, setWhich] = useState("matching");
  const [chosen, setChosen] = useState<string[]>([]);
  const replay = useReplay();
  const matching = all.filter((s) => wants(s.event_types, event.type)).length;
  const submit = () =>
    replay.mutate(
      { id: event.id, to: which === "matching" ? [] : chosen },
      {
        onSuccess: ({ data }) => {
          notifications.show({
            color: "teal",
            title: "Replayed",
            message: `${plural(data.length, "new delivery", "new deliveries")} on the way.`,
          });
          onClose();
        },
      },
    );
  return (
    <Modal opened={opened} onClose={onClose} title="Replay the event">
      <Stack>
        <Text size="sm" c="dimmed">
          A replay makes new deliveries with the same event id, so receivers that drop duplicates may ignore it.
        </Text>
        <Radio.Group value={which} onChange={setWhich} aria-label="Where to">
          <Stack gap="xs">
            <Radio value="matching" label={`All that want it now (${plural(matching, "subscription")})`} />
            <Radio value="chosen" label="Only these" />
          </Stack>
        </Radio.Group>
        {which === "chosen" && (
          <ScrollArea.Autosize mah={240}>
            <Checkbox.Group value={chosen} onChange={setChosen} aria-label="Subscriptions">
              <Stack gap="xs" pl="lg">
                {all.map((s) => (
                  <Checkbox key={s.id} value={s.id} size="xs" label={s.description || hostPath(s.url)} />
                ))}
              </Stack>
            </Checkbox.Group>
          </ScrollArea.Autosize>
        )}
        {replay.error && <ProblemAlert error={replay.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Close
          </Button>
          <Button onClick={submit} loading={replay.isPending} disabled={which === "chosen" && chosen.length === 0}>
            Replay
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
