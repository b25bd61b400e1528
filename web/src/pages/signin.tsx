import { Alert, Anchor, Button, Center, Code, Group, Paper, PasswordInput, Stack, Text, Title } from "@mantine/core";
import { IconInfoCircle, IconKey } from "@tabler/icons-react";
import { type FormEvent, useEffect, useState } from "react";
import { SchemeButton } from "../components/account";
import { Logo } from "../components/logo";
import { ProblemAlert } from "../components/states";
import { type Problem, problemOf } from "../data/problem";
import { credentials, signIn, useSession } from "../data/session";

/** Tries a key before it is kept; undefined means that it may read. */
async function refusal(key: string): Promise<Problem | undefined> {
  try {
    const response = await fetch("/subscriptions?limit=1", { headers: credentials(key) });
    return response.ok ? undefined : problemOf(await response.json().catch(() => ({})), response);
  } catch {
    return problemOf(undefined, undefined);
  }
}

export default function SignIn() {
  const { ended } = useSession();
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  const wrong = problem?.status === 401;
  useEffect(() => {
    document.title = "Sign in · Posthorn";
  }, []);

  const submit = async (e: FormEvent) => {
    e.preventDefault();
    const text = key.trim();
    if (!text) return;
    setBusy(true);
    const refused = await refusal(text);
    setBusy(false);
    setProblem(refused);
    if (!refused) signIn(text);
  };

  return (
    <Center mih="100dvh" p="md" component="main" bg="var(--ph-canvas)">
      <Stack w="100%" maw={420} gap="lg">
        <Group justify="space-between">
          <Group gap="sm">
            <Logo size={40} />
            <div>
              <Title order={1} size="h3">
                Posthorn
              </Title>
              <Text c="dimmed" size="sm">
                Webhooks, delivered and explained
              </Text>
            </div>
          </Group>
          <SchemeButton />
        </Group>
        {ended && !problem && (
          <Alert color="orange" variant="light" icon={<IconInfoCircle />} title="Signed out" role="alert">
            {ended}
          </Alert>
        )}
        <Paper p="lg" shadow="sm">
          <form onSubmit={submit}>
            <Stack>
              <PasswordInput
                label="API key"
                description="The dashboard sees and does what the key's scopes allow."
                placeholder="phk_…"
                leftSection={<IconKey size={16} />}
                value={key}
                onChange={(e) => setKey(e.currentTarget.value)}
                error={wrong ? "This key is unknown, expired or revoked" : undefined}
                autoComplete="current-password"
                autoFocus
                data-autofocus
                visibilityToggleButtonProps={{ "aria-label": "Show or hide the key" }}
              />
              {problem && !wrong && <ProblemAlert error={problem} />}
              <Button type="submit" loading={busy} disabled={!key.trim()}>
                Sign in
              </Button>
            </Stack>
          </form>
        </Paper>
        <Text size="sm" c="dimmed">
          The first start prints a key, or takes it from <Code>POSTHORN_API_KEY</Code>. The command{" "}
          <Code>posthorn keys create NAME</Code> makes another. The key stays in this tab and is forgotten when it is
          closed. The API is described at{" "}
          <Anchor href="/docs" size="sm" underline="always">
            /docs
          </Anchor>
          .
        </Text>
      </Stack>
    </Center>
  );
}
