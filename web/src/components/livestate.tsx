import { Alert, Button, Group, Text } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { hurryLive, useLiveState } from "../data/live";
import { useNow } from "./clock";
import { span } from "./format";
import classes from "./shell.module.css";

const words = { open: "Live", connecting: "Connecting", waiting: "Reconnecting", stopped: "Not live" };

export function LiveState() {
  const { name } = useLiveState();
  return (
    <Group
      gap={6}
      wrap="nowrap"
      role="status"
      aria-live="polite"
      title="Whether this page follows what happens as it happens"
    >
      <span className={classes.pulse} data-state={name} />
      <Text size="xs" c="dimmed" visibleFrom="xs">
        {words[name]}
      </Text>
    </Group>
  );
}

/** Says when the server has gone, and when the page will look again. */
export function Unreachable() {
  const state = useLiveState();
  const now = useNow();
  if (!state.lostSince || now - state.lostSince < 2000) return null;
  return (
    <Alert
      color="orange"
      variant="light"
      mb="md"
      icon={<IconPlugConnectedX />}
      title="Posthorn cannot be reached"
      role="alert"
    >
      <Group justify="space-between" gap="xs">
        <Text size="sm">
          What you see is from before.{" "}
          {state.name === "waiting"
            ? `Trying again in ${span(Math.max(1, (state.until - now) / 1000))}.`
            : "Trying again…"}
        </Text>
        <Button size="xs" variant="default" onClick={hurryLive}>
          Try now
        </Button>
      </Group>
    </Alert>
  );
}
