// One event type: what it means, its schema, and a payload to try it on.
import { Alert, Button, Group, List, Stack, Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { IconBolt, IconCheck, IconTrash, IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { JsonField } from "../components/jsonfield";
import { ButtonLink } from "../components/link";
import { Card, Page } from "../components/page";
import { Loaded, ProblemAlert } from "../components/states";
import { isJSON } from "../data/events";
import { type EventType, eventTypeByName, useDeleteEventType, usePayloadTrial } from "../data/eventtypes";
import { jsonText, TypeForm } from "./eventtypeform";

const route = getRouteApi("/ui/event-types/$name");
const back = { to: "/ui/event-types", label: "Event types" } as const;

export default function EventTypePage() {
  const { name } = route.useParams();
  // What is being typed must not be overwritten by what happens meanwhile.
  const query = useQuery({ ...eventTypeByName(name), refetchOnMount: "always", staleTime: Number.POSITIVE_INFINITY });
  return (
    <Page
      title={name}
      back={back}
      actions={
        query.data && (
          <>
            <ButtonLink
              variant="default"
              to="/ui/events/publish"
              search={{ type: name }}
              leftSection={<IconBolt size={16} />}
            >
              Publish one
            </ButtonLink>
            <Delete name={name} />
          </>
        )
      }
    >
      <Loaded query={query}>
        {(type) => (
          <>
            <TypeForm key={type.updated_at} type={type} />
            {type.schema !== null && <Trial type={type} />}
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Delete({ name }: { name: string }) {
  const remove = useDeleteEventType();
  const navigate = useNavigate();
  const ask = () =>
    modals.openConfirmModal({
      title: `Delete ${name}`,
      children: (
        <Text size="sm">
          Events and subscriptions are not touched; a strict catalogue refuses the type from now on. To say that a type
          goes away, mark it as deprecated.
        </Text>
      ),
      labels: { confirm: "Delete", cancel: "Keep it" },
      confirmProps: { color: "red" },
      onConfirm: () => remove.mutate(name, { onSuccess: () => void navigate({ to: "/ui/event-types" }) }),
    });
  return (
    <>
      <Button variant="default" leftSection={<IconTrash size={16} />} loading={remove.isPending} onClick={ask}>
        Delete…
      </Button>
      {remove.error && <ProblemAlert error={remove.error} />}
    </>
  );
}

/** Tries a payload on the schema as it is saved. */
function Trial({ type }: { type: EventType }) {
  const [payload, setPayload] = useState(jsonText(type.example) || "{}");
  const trial = usePayloadTrial();
  const verdict = trial.data;
  return (
    <Card title="Try a payload">
      <Stack>
        <JsonField
          label="Payload"
          description="Nothing is stored or sent."
          value={payload}
          onChange={setPayload}
          error={isJSON(payload) ? undefined : "This is not JSON yet"}
        />
        {trial.error && <ProblemAlert error={trial.error} />}
        {verdict && (
          <Alert
            color={verdict.valid ? "teal" : "orange"}
            variant="light"
            icon={verdict.valid ? <IconCheck /> : <IconX />}
            title={verdict.valid ? "It fulfils the schema" : "It breaks the schema"}
            role="status"
          >
            <List size="sm">
              {verdict.errors.map((e) => (
                <List.Item key={e.location + e.message}>
                  <code>{e.location}</code> {e.message}
                </List.Item>
              ))}
            </List>
            {!verdict.valid && (
              <Text size="sm">
                {verdict.enforced ? "A publish would be refused." : "A publish would be accepted: it is not enforced."}
              </Text>
            )}
          </Alert>
        )}
        <Group>
          <Button
            variant="default"
            loading={trial.isPending}
            disabled={!isJSON(payload)}
            onClick={() => trial.mutate({ name: type.name, payload })}
          >
            Try it
          </Button>
        </Group>
      </Stack>
    </Card>
  );
}
