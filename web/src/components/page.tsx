import { Box, Group, Paper, Stack, Text, Title } from "@mantine/core";
import { IconChevronLeft } from "@tabler/icons-react";
import type { LinkProps } from "@tanstack/react-router";
import { type ReactNode, useEffect } from "react";
import { TextLink } from "./link";

interface PageProps {
  title: string;
  /** Shown instead of the title where that has more than text in it. */
  heading?: ReactNode;
  lead?: ReactNode;
  actions?: ReactNode;
  back?: { to: LinkProps["to"]; label: string };
  children?: ReactNode;
}

/** A page: its title in the tab and at the top, what can be done with it, its content. */
export function Page({ title, heading, lead, actions, back, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · Posthorn`;
  }, [title]);
  return (
    <Stack gap="md">
      <Box>
        {back && (
          <TextLink to={back.to} size="sm" mb={4} display="inline-flex" style={{ alignItems: "center" }}>
            <IconChevronLeft size={14} aria-hidden /> {back.label}
          </TextLink>
        )}
        <Group justify="space-between" align="flex-start" gap="sm">
          <Box miw={0} flex="1 1 260px">
            {heading ?? (
              <Title order={1} size="h2">
                {title}
              </Title>
            )}
            {lead && (
              <Text c="dimmed" size="sm" component="div" mt={2}>
                {lead}
              </Text>
            )}
          </Box>
          {actions && <Group gap="xs">{actions}</Group>}
        </Group>
      </Box>
      {children}
    </Stack>
  );
}

interface CardProps {
  title?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  /** Without inner space, for lists that reach the edge. */
  flush?: boolean;
}

export function Card({ title, actions, children, flush }: CardProps) {
  return (
    <Paper p={flush ? 0 : "md"} component="section" style={{ overflow: "hidden" }} miw={0}>
      {(title || actions) && (
        <Group
          justify="space-between"
          gap="xs"
          mb={flush ? 0 : "sm"}
          px={flush ? "md" : 0}
          pt={flush ? "sm" : 0}
          pb={flush ? "xs" : 0}
        >
          {title && (
            <Title order={2} size="h5">
              {title}
            </Title>
          )}
          {actions && <Group gap="xs">{actions}</Group>}
        </Group>
      )}
      {children}
    </Paper>
  );
}

/** Facts beside one another, as many as fit. */
export function Facts({ children }: { children: ReactNode }) {
  return (
    <Group gap="md" align="flex-start" style={{ columnGap: 36 }}>
      {children}
    </Group>
  );
}

/** A name and its value, one under the other. */
export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <Box miw={0}>
      <Text size="xs" c="dimmed">
        {name}
      </Text>
      <Text size="sm" component="div" style={{ overflowWrap: "anywhere" }}>
        {children}
      </Text>
    </Box>
  );
}
