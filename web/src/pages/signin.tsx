import { Alert, Anchor, Button, Code, Paper, PasswordInput, Stack, Text } from "@mantine/core";
import { IconInfoCircle, IconKey } from "@tabler/icons-react";
import { type FormEvent, useEffect, useState } from "react";
import { ProblemAlert } from "../components/states";
import type { Problem } from "../data/problem";
import { signIn, useSession } from "../data/session";
import { Entrance } from "./entrance";

export default function SignIn() {
  const { ended, problem: unknown } = useSession();
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
    setProblem(await signIn(text));
    setBusy(false);
  };

  return (
    <Entrance>
      {ended && !problem && (
        <Alert color="orange" variant="light" icon={<IconInfoCircle />} title="Signed out" role="alert">
          {ended}
        </Alert>
      )}
      {unknown && !problem && <ProblemAlert error={unknown} />}
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
        <Code>posthorn keys create NAME</Code> makes another. The browser does not keep the key: it gets a session of
        its own, which ends with it. The API is described at{" "}
        <Anchor href="/docs" size="sm" underline="always">
          /docs
        </Anchor>
        .
      </Text>
    </Entrance>
  );
}
