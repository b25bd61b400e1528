import { Alert, Group, Stack, Text } from "@mantine/core";
import { IconCheck } from "@tabler/icons-react";
import { Id } from "../components/copy";
import { ButtonLink } from "../components/link";
import { Fact, Page } from "../components/page";
import { ingestUrl, useCreateSource } from "../data/sources";
import { SourceEditor } from "./sourceform";
import { providerLabel } from "./sourcevalues";

export default function NewSource() {
  const create = useCreateSource();
  const made = create.data;
  const back = { to: "/ui/sources", label: "Sources" } as const;
  if (made) {
    return (
      <Page title="Source created" back={back}>
        <Alert color="teal" variant="light" icon={<IconCheck />} title={made.name} role="status">
          <Stack gap="sm">
            <Fact name={`Where ${providerLabel(made.provider)} sends`}>
              <Id value={ingestUrl(made)} what="URL" />
            </Fact>
            {made.secret && (
              <Fact name="Secret, shown this once">
                <Id value={made.secret} what="secret" />
              </Fact>
            )}
            <Text size="sm">
              {made.secrets.length === 0
                ? "Give the URL to the provider, then set the secret that it issues on the source’s page: until then everything is refused."
                : "Give both to the provider. The URL must be reachable from where it sends."}
            </Text>
            <Group>
              <ButtonLink to="/ui/sources/$id" params={{ id: made.id }} size="xs">
                Open the source
              </ButtonLink>
            </Group>
          </Stack>
        </Alert>
      </Page>
    );
  }
  return (
    <Page title="Create a source" back={back}>
      <SourceEditor
        error={create.error}
        busy={create.isPending}
        onSubmit={(input, refused) => create.mutate(input, { onError: refused })}
      />
    </Page>
  );
}
