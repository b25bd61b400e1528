// What stands instead of the shell while nobody is known to be signed in.
import { Center, Group, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { SchemeButton } from "../components/account";
import { Logo } from "../components/logo";
import { ProblemAlert } from "../components/states";
import type { Problem } from "../data/problem";
import { hurryResume } from "../data/session";

export function Entrance({ children }: { children: ReactNode }) {
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
        {children}
      </Stack>
    </Center>
  );
}

/** The server cannot say who is signed in: what is wrong, and that it is asked again. */
export function Waiting({ problem }: { problem: Problem }) {
  return (
    <Entrance>
      <ProblemAlert error={problem} retry={hurryResume} />
      <Text size="sm" c="dimmed">
        This page tries again by itself. Whoever is signed in stays signed in.
      </Text>
    </Entrance>
  );
}
