import { ActionIcon, Button, Menu, Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import {
  IconDots,
  IconEdit,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlayerSkipForward,
  IconRefresh,
  IconRepeat,
  IconTrash,
} from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { ButtonLink } from "../components/link";
import { ProblemAlert } from "../components/states";
import { type Subscription, useDeleteSubscription, useHold, useSkipBacklog } from "../data/subscriptions";
import { backlogOf } from "./lane";

export function SubscriptionActions({ subscription: s }: { subscription: Subscription }) {
  const pause = useHold("pause");
  const resume = useHold("resume");
  const remove = useDeleteSubscription();
  const navigate = useNavigate();
  const skip = useSkipBacklog();
  const failed = pause.error ?? resume.error ?? skip.error ?? remove.error;
  const confirmSkip = () =>
    modals.openConfirmModal({
      title: "Resume without the backlog",
      children: (
        <Text size="sm">
          What is held, {backlogOf(s.lane)} at present, is cancelled and not sent; it can be retried or replayed later.
          New events are sent again.
        </Text>
      ),
      labels: { confirm: "Resume without it", cancel: "Keep holding it" },
      confirmProps: { color: "red" },
      onConfirm: () => skip.mutate(s.id),
    });
  const confirmDelete = () =>
    modals.openConfirmModal({
      title: "Delete the subscription",
      children: (
        <Text size="sm">
          It gets no more events and its pending deliveries are cancelled. What was delivered stays readable for the
          retention. This cannot be undone.
        </Text>
      ),
      labels: { confirm: "Delete", cancel: "Keep it" },
      confirmProps: { color: "red" },
      onConfirm: () =>
        remove.mutate(s.id, {
          onSuccess: () => {
            notifications.show({ color: "teal", message: "The subscription was deleted." });
            void navigate({ to: "/ui/subscriptions" });
          },
        }),
    });
  return (
    <>
      {s.status === "active" ? (
        <Button
          variant="default"
          leftSection={<IconPlayerPause size={16} />}
          loading={pause.isPending}
          onClick={() => pause.mutate(s.id)}
        >
          Pause
        </Button>
      ) : (
        <Button
          leftSection={<IconPlayerPlay size={16} />}
          loading={resume.isPending}
          onClick={() => resume.mutate(s.id)}
        >
          Resume
        </Button>
      )}
      <ButtonLink
        variant="default"
        to="/ui/subscriptions/$id/edit"
        params={{ id: s.id }}
        leftSection={<IconEdit size={16} />}
      >
        Edit
      </ButtonLink>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="default" size={36} aria-label="More actions">
            <IconDots size={16} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {s.status !== "active" && (
            <Menu.Item leftSection={<IconPlayerSkipForward size={16} />} onClick={confirmSkip}>
              Resume without the backlog ({backlogOf(s.lane)})…
            </Menu.Item>
          )}
          <Menu.Item
            leftSection={<IconRefresh size={16} />}
            onClick={() =>
              void navigate({ to: "/ui/deliveries", search: { subscription: s.id, status: "exhausted,cancelled" } })
            }
          >
            Retry what failed…
          </Menu.Item>
          <Menu.Item
            leftSection={<IconRepeat size={16} />}
            onClick={() => void navigate({ to: "/ui/replays", search: { start: "failed", subscription: s.id } })}
          >
            Replay what failed since…
          </Menu.Item>
          <Menu.Item
            leftSection={<IconRepeat size={16} />}
            onClick={() => void navigate({ to: "/ui/replays", search: { start: "matching", subscription: s.id } })}
          >
            Send past events…
          </Menu.Item>
          <Menu.Item color="red" leftSection={<IconTrash size={16} />} onClick={confirmDelete}>
            Delete…
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {failed && <ProblemAlert error={failed} />}
    </>
  );
}
