// One source: its URL, what came in, its secret and its settings.
import { Alert, Button, Group, PasswordInput, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { Id } from "../components/copy";
import { count } from "../components/format";
import { Card, Fact, Page } from "../components/page";
import { Loading, ProblemAlert } from "../components/states";
import { Time } from "../components/time";
import {
  ingestUrl,
  type Source,
  sourceById,
  useDeleteSource,
  useEnableSource,
  useReplaceSource,
  useRotateSource,
} from "../data/sources";
import { SourceEditor } from "./sourceform";
import { SourceState } from "./sources";
import { issuesSecret, providerLabel } from "./sourcevalues";

const route = getRouteApi("/ui/sources/$id");

export default function SourcePage() {
  const { id } = route.useParams();
  const query = useQuery(sourceById(id));
  const replace = useReplaceSource();
  const back = { to: "/ui/sources", label: "Sources" } as const;
  const s = query.data;
  if (!s) {
    return (
      <Page title="Source" lead={<Id value={id} />} back={back}>
        {query.error ? <ProblemAlert error={query.error} retry={() => void query.refetch()} /> : <Loading />}
      </Page>
    );
  }
  return (
    <Page
      title={s.name}
      back={back}
      heading={
        <Group gap="xs">
          <Title order={1} size="h2" style={{ overflowWrap: "anywhere" }}>
            {s.name}
          </Title>
          <SourceState source={s} />
        </Group>
      }
      lead={<Id value={s.id} />}
      actions={<Actions source={s} />}
    >
      <Card title="What came in">
        <Stack>
          <Fact name={`Where ${providerLabel(s.provider)} sends`}>
            <Id value={ingestUrl(s)} what="URL" />
          </Fact>
          <SimpleGrid cols={{ base: 2, sm: 5 }}>
            <Fact name="Accepted">{count(s.accepted)}</Fact>
            <Fact name="Duplicates">{count(s.duplicates)}</Fact>
            <Fact name="Refused">{count(s.refused)}</Fact>
            <Fact name="Last event">
              <Time at={s.last_accepted_at} />
            </Fact>
            <Fact name="Last refusal">
              <Time at={s.last_refused_at} />
            </Fact>
          </SimpleGrid>
        </Stack>
      </Card>
      <Secret source={s} />
      <SourceEditor
        key={s.updated_at}
        source={s}
        error={replace.error}
        busy={replace.isPending}
        onSubmit={(input, refused) =>
          replace.mutate(
            { id, input },
            {
              onError: refused,
              onSuccess: () => notifications.show({ color: "teal", message: "The source was saved." }),
            },
          )
        }
      />
    </Page>
  );
}

function Actions({ source: s }: { source: Source }) {
  const enable = useEnableSource();
  const remove = useDeleteSource();
  const navigate = useNavigate();
  const ask = () =>
    modals.openConfirmModal({
      title: "Delete the source",
      children: <Text size="sm">What the provider sends from now on is answered with 404. Its events stay.</Text>,
      labels: { confirm: "Delete", cancel: "Keep it" },
      confirmProps: { color: "red" },
      onConfirm: () => remove.mutate(s.id, { onSuccess: () => void navigate({ to: "/ui/sources" }) }),
    });
  const failed = enable.error ?? remove.error;
  return (
    <>
      <Button
        variant="default"
        loading={enable.isPending}
        onClick={() => enable.mutate({ id: s.id, enabled: !s.enabled })}
      >
        {s.enabled ? "Disable" : "Enable"}
      </Button>
      <Button variant="default" loading={remove.isPending} onClick={ask}>
        Delete…
      </Button>
      {failed && <ProblemAlert error={failed} />}
    </>
  );
}

/** Sets the secret that a provider has issued, or has another one made. */
function Secret({ source: s }: { source: Source }) {
  const rotate = useRotateSource();
  const [secret, setSecret] = useState("");
  const given = issuesSecret(s.provider);
  const set = () => rotate.mutate({ id: s.id, secret: secret.trim() }, { onSuccess: () => setSecret("") });
  return (
    <Card title="Secret">
      <Stack>
        {s.secrets.length === 0 && (
          <Alert color="orange" variant="light" title="Everything is refused">
            Set the secret that {providerLabel(s.provider)} shows for this URL.
          </Alert>
        )}
        {s.secrets.map((one, i) => (
          <Text size="sm" key={one.created_at}>
            {i === 0 ? "In use" : "Still verifies"}, set <Time at={one.created_at} />
            {one.expires_at && (
              <>
                , ends <Time at={one.expires_at} />
              </>
            )}
          </Text>
        ))}
        {rotate.data && (
          <Alert color="teal" variant="light" title="The secret was changed" role="status">
            {rotate.data.secret ? (
              <Stack gap="xs">
                <Text size="sm">
                  Give it to the provider now: it is shown this once. The old one verifies for a day.
                </Text>
                <Id value={rotate.data.secret} what="secret" />
              </Stack>
            ) : (
              "A secret that was there before verifies for another day."
            )}
          </Alert>
        )}
        {rotate.error && <ProblemAlert error={rotate.error} />}
        <Group align="flex-end" gap="xs">
          <PasswordInput
            label="New secret"
            description={given ? "As the provider shows it." : "Empty makes one."}
            autoComplete="off"
            w={{ base: "100%", xs: 340 }}
            value={secret}
            onChange={(e) => setSecret(e.currentTarget.value)}
          />
          <Button variant="default" loading={rotate.isPending} disabled={given && !secret.trim()} onClick={set}>
            {secret.trim() ? "Set" : "Rotate"}
          </Button>
        </Group>
      </Stack>
    </Card>
  );
}
