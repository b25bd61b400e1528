import { Button, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { IconPlus } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Id } from "../components/copy";
import { FormModal } from "../components/formmodal";
import { List } from "../components/list";
import type { Column } from "../components/rows";
import { Empty } from "../components/states";
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
    <>
      <List
        title="Tenants"
        actions={
          <Button size="xs" leftSection={<IconPlus size={14} />} onClick={() => setCreating(true)}>
            Create a tenant
          </Button>
        }
        label="Tenants"
        query={list}
        columns={columns}
        keyOf={(t) => t.id}
        none={<Empty small title="No tenants" />}
      />
      {creating && <CreateTenant onClose={() => setCreating(false)} />}
    </>
  );
}

function CreateTenant({ onClose }: { onClose: () => void }) {
  const create = useCreateTenant();
  const form = useForm({
    initialValues: { name: "" },
    validate: { name: (v) => (v.trim() ? null : "A tenant needs a name") },
  });
  return (
    <FormModal
      title="Create a tenant"
      onClose={onClose}
      error={create.error}
      busy={create.isPending}
      onSubmit={form.onSubmit((v) =>
        create.mutate(
          { name: v.name.trim() },
          { onSuccess: onClose, onError: (e) => form.setErrors(formErrors(e, ["name"])) },
        ),
      )}
    >
      <TextInput
        label="Name"
        description="It owns subscriptions and events of its own; make a key for it to use it."
        data-autofocus
        {...form.getInputProps("name")}
      />
    </FormModal>
  );
}
