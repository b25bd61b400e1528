import { Alert, Badge, Button, Checkbox, Group, Modal, Select, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { modals } from "@mantine/modals";
import { IconPlus } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Id } from "../components/copy";
import { FormModal } from "../components/formmodal";
import { List } from "../components/list";
import type { Column } from "../components/rows";
import { Empty, ProblemAlert } from "../components/states";
import { Time } from "../components/time";
import { type ApiKey, type KeyInput, keyList, useCreateKey, useRevokeKey } from "../data/keys";
import { formErrors } from "../data/problem";

function keyState(k: ApiKey, now = Date.now()): { color: string; label: string } {
  if (k.revoked_at) return { color: "gray", label: "Revoked" };
  if (k.expires_at && Date.parse(k.expires_at) <= now) return { color: "gray", label: "Expired" };
  return { color: "teal", label: "Valid" };
}

const columns: Column<ApiKey>[] = [
  { title: "Name", width: "minmax(110px, 1.4fr)", narrow: "line", cell: (k) => <b>{k.name}</b> },
  {
    title: "Key",
    width: "110px",
    cell: (k) => (
      <Text ff="monospace" size="xs">
        {k.prefix}…
      </Text>
    ),
  },
  {
    title: "Scopes",
    width: "minmax(120px, 1fr)",
    cell: (k) => (
      <Group gap={4} wrap="nowrap">
        {k.scopes.map((s) => (
          <Badge key={s} color={s === "admin" ? "violet" : "gray"}>
            {s}
          </Badge>
        ))}
      </Group>
    ),
  },
  { title: "State", width: "84px", cell: (k) => <Badge color={keyState(k).color}>{keyState(k).label}</Badge> },
  { title: "Last used", width: "90px", align: "right", narrow: "hidden", cell: (k) => <Time at={k.last_used_at} /> },
  {
    title: "Expires",
    width: "100px",
    align: "right",
    narrow: "hidden",
    cell: (k) => (k.expires_at ? <Time at={k.expires_at} /> : "never"),
  },
  { title: "Revoke", width: "84px", align: "right", cell: (k) => <Revoke apiKey={k} /> },
];

function Revoke({ apiKey: k }: { apiKey: ApiKey }) {
  const revoke = useRevokeKey();
  if (keyState(k).label !== "Valid") return null;
  const ask = () =>
    modals.openConfirmModal({
      title: `Revoke ${k.name}`,
      children: <Text size="sm">Programs that use this key are refused within seconds. This cannot be undone.</Text>,
      labels: { confirm: "Revoke", cancel: "Keep it" },
      confirmProps: { color: "red" },
      onConfirm: () =>
        revoke.mutate(k.id, {
          onError: (error) =>
            modals.open({ title: "The key was not revoked", children: <ProblemAlert error={error} /> }),
        }),
    });
  return (
    <Button
      size="compact-xs"
      variant="default"
      onClick={ask}
      loading={revoke.isPending}
      aria-label={`Revoke ${k.name}`}
    >
      Revoke
    </Button>
  );
}

export function Keys() {
  const list = useInfiniteQuery(keyList());
  const [creating, setCreating] = useState(false);
  return (
    <>
      <List
        title="API keys"
        actions={
          <Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setCreating(true)}>
            Create a key
          </Button>
        }
        label="API keys"
        query={list}
        columns={columns}
        keyOf={(k) => k.id}
        none={<Empty small title="No keys" />}
      />
      {creating && <CreateKey onClose={() => setCreating(false)} />}
    </>
  );
}

const scopes = [
  { value: "publish", label: "publish", description: "Publish events." },
  { value: "read", label: "read", description: "Read everything but secrets." },
  {
    value: "manage",
    label: "manage",
    description: "Change subscriptions and deliveries, read secrets; includes publish and read.",
  },
  { value: "admin", label: "admin", description: "Manage keys, tenants and workers; includes all others." },
];

const lives = [
  { value: "", label: "Never" },
  { value: "30", label: "In 30 days" },
  { value: "90", label: "In 90 days" },
  { value: "365", label: "In a year" },
];

function CreateKey({ onClose }: { onClose: () => void }) {
  const create = useCreateKey();
  const form = useForm({
    initialValues: { name: "", scopes: ["publish"], days: "", networks: [] as string[] },
    validate: {
      name: (v) => (v.trim() ? null : "A name says later what the key is for"),
      scopes: (v) => (v.length > 0 ? null : "At least one"),
    },
  });
  const submit = (v: typeof form.values) => {
    const body: KeyInput = { name: v.name.trim(), scopes: v.scopes as KeyInput["scopes"], ip_allowlist: v.networks };
    if (v.days) body.expires_at = new Date(Date.now() + Number(v.days) * 86_400_000).toISOString();
    create.mutate(body, {
      onError: (error) => {
        const errors = formErrors(error, ["name", "scopes", "ip_allowlist", "expires_at"]);
        form.setErrors({
          name: errors.name,
          scopes: errors.scopes,
          networks: errors.ip_allowlist,
          days: errors.expires_at,
        });
      },
    });
  };
  if (create.data) {
    return (
      <Modal opened onClose={onClose} title="The key was created">
        <Stack>
          <Alert color="orange" variant="light" title="Copy it now">
            It is shown this once: only its hash is kept.
          </Alert>
          <Id value={create.data.key} what="key" />
          <Group justify="flex-end">
            <Button onClick={onClose}>Done</Button>
          </Group>
        </Stack>
      </Modal>
    );
  }
  return (
    <FormModal
      title="Create a key"
      onClose={onClose}
      onSubmit={form.onSubmit(submit)}
      error={create.error}
      busy={create.isPending}
    >
      <TextInput label="Name" placeholder="billing" required data-autofocus {...form.getInputProps("name")} />
      <Checkbox.Group label="Scopes" {...form.getInputProps("scopes")}>
        <Stack gap="xs" mt={4}>
          {scopes.map((s) => (
            <Checkbox key={s.value} {...s} />
          ))}
        </Stack>
      </Checkbox.Group>
      <Select label="Expires" data={lives} allowDeselect={false} {...form.getInputProps("days")} />
      <TagsInput
        label="May be used from"
        description="Addresses and networks, like 203.0.113.0/24; none is everywhere."
        splitChars={[",", " "]}
        acceptValueOnBlur
        {...form.getInputProps("networks")}
      />
    </FormModal>
  );
}
