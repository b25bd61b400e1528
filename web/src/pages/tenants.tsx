import { Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { IconPlus } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Id } from "../components/copy";
import { Card } from "../components/page";
import { type Column, Rows } from "../components/rows";
import { Loaded, LoadMore, ProblemAlert } from "../components/states";
import { Time } from "../components/time";
import { formErrors } from "../data/problem";
import { type Tenant, tenantList, useCreateTenant } from "../data/tenants";

const columns: Column<Tenant>[] = [
  { title: "Name", width: "minmax(110px, 1fr)", narrow: "line", cell: (t) => <b>{t.name}</b> },
  { title: "Id", width: "minmax(160px, 2fr)", narrow: "line", cell: (t) => <Id value={t.id} /> },
  {
    title: "Rate limit",
    width: "130px",
    cell: (t) => (t.rate_limit ? `${t.rate_limit.limit} a ${t.rate_limit.per}` : "the default"),
  },
  { title: "Created", width: "100px", align: "right", cell: (t) => <Time at={t.created_at} /> },
];

export function Tenants() {
  const list = useInfiniteQuery(tenantList());
  const [creating, setCreating] = useState(false);
  return (
    <Card
      title="Tenants"
      flush
      actions={
        <Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setCreating(true)}>
          Create a tenant
        </Button>
      }
    >
      <Loaded query={list}>
        {({ pages }) => (
          <>
            <Rows label="Tenants" columns={columns} rows={pages.flatMap((p) => p.data)} keyOf={(t) => t.id} />
            <LoadMore more={list.hasNextPage} busy={list.isFetchingNextPage} onMore={() => void list.fetchNextPage()} />
          </>
        )}
      </Loaded>
      {creating && <CreateTenant onClose={() => setCreating(false)} />}
    </Card>
  );
}

function CreateTenant({ onClose }: { onClose: () => void }) {
  const create = useCreateTenant();
  const form = useForm({
    initialValues: { name: "" },
    validate: { name: (v) => (v.trim() ? null : "A tenant needs a name") },
  });
  return (
    <Modal opened onClose={onClose} title="Create a tenant">
      <form
        onSubmit={form.onSubmit((v) =>
          create.mutate(
            { name: v.name.trim() },
            { onSuccess: onClose, onError: (e) => form.setErrors(formErrors(e, ["name"])) },
          ),
        )}
      >
        <Stack>
          <TextInput
            label="Name"
            description="It owns subscriptions and events of its own; make a key for it to use it."
            data-autofocus
            {...form.getInputProps("name")}
          />
          {create.error && <ProblemAlert error={create.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={create.isPending}>
              Create
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
