// What a page shows instead of its content: nothing yet, not there, an error with what to do.
import { Alert, Button, Center, Code, Group, List, Skeleton, Stack, Text, ThemeIcon, Title } from "@mantine/core";
import { IconAlertTriangle, IconInbox, IconPlugConnectedX } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { asProblem, type Problem } from "../data/problem";

interface EmptyProps {
  title: string;
  children?: ReactNode;
  icon?: ReactNode;
  action?: ReactNode;
  /** For a part of a page that is often empty. */
  small?: boolean;
}

export function Empty({ title, children, icon, action, small }: EmptyProps) {
  return (
    <Center py={small ? 22 : 48} px="md">
      <Stack align="center" gap="xs" maw={460} ta="center">
        {!small && (
          <ThemeIcon size={48} radius="xl" variant="light" color="gray">
            {icon ?? <IconInbox size={26} stroke={1.6} />}
          </ThemeIcon>
        )}
        {small ? (
          <Text fw={550} size="sm">
            {title}
          </Text>
        ) : (
          <Title order={2} size="h4">
            {title}
          </Title>
        )}
        {children && (
          <Text c="dimmed" size="sm" component="div">
            {children}
          </Text>
        )}
        {action}
      </Stack>
    </Center>
  );
}

function hint(p: Problem): string | undefined {
  if (p.status === 403) return "Sign in with a key whose scope allows this, or from an address on its allowlist.";
  if (p.status === 404) return "It may have been removed by the retention, or the link may belong to another tenant.";
  if (p.status === 429 && p.retryAfter) return `Wait ${p.retryAfter} s and try again.`;
  if (p.status >= 500 && p.requestId) return "If it stays so, look for the request id in the server's log.";
  return undefined;
}

/** A failed request as the API described it: the sentence, the fields, the request id. */
export function ProblemAlert({ error, retry }: { error: unknown; retry?: () => void }) {
  const p = asProblem(error);
  const advice = hint(p);
  const unreachable = p.status === 0;
  return (
    <Alert
      color={unreachable ? "orange" : "red"}
      variant="light"
      icon={unreachable ? <IconPlugConnectedX /> : <IconAlertTriangle />}
      title={p.title}
      role="alert"
    >
      <Stack gap="xs" align="flex-start">
        {p.detail && p.detail !== p.title && <Text size="sm">{p.detail}</Text>}
        {p.fields.length > 0 && (
          <List size="sm">
            {p.fields.map((f) => (
              <List.Item key={f.location + f.message}>
                {f.location && <Code>{f.location}</Code>} {f.message}
              </List.Item>
            ))}
          </List>
        )}
        {advice && <Text size="sm">{advice}</Text>}
        {p.requestId && (
          <Text size="xs">
            Request id <Code>{p.requestId}</Code>
          </Text>
        )}
        {retry && (
          <Button size="xs" variant="default" onClick={retry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

interface Query<T> {
  data: T | undefined;
  error: unknown;
  refetch: () => unknown;
}

/** A query's content, or what stands for it. Content once seen stays while a refetch fails. */
export function Loaded<T>({
  query,
  children,
  loading,
}: {
  query: Query<T>;
  children: (data: T) => ReactNode;
  loading?: ReactNode;
}) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error) return <ProblemAlert error={query.error} retry={() => query.refetch()} />;
  return <>{loading ?? <Loading />}</>;
}

export function Loading({ rows = 5, height = 36 }: { rows?: number; height?: number }) {
  return (
    <Stack gap="xs" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: placeholders are all alike
        <Skeleton key={i} height={height} radius="sm" />
      ))}
    </Stack>
  );
}

export function LoadMore({ more, busy, onMore }: { more: boolean; busy: boolean; onMore: () => void }) {
  if (!more) return null;
  return (
    <Group justify="center" p="sm">
      <Button variant="default" size="xs" loading={busy} onClick={onMore}>
        Load more
      </Button>
    </Group>
  );
}
