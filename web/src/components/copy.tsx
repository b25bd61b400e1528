import { ActionIcon, Button, CopyButton, Group, Text } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import type { ReactNode } from "react";

/** Copies a value; `what` names it for those who do not see the sign. */
export function Copy({ value, what }: { value: string; what: string }) {
  return (
    <CopyButton value={value} timeout={1500}>
      {({ copied, copy }) => (
        <ActionIcon
          size="sm"
          onClick={copy}
          aria-label={copied ? `Copied ${what}` : `Copy ${what}`}
          title={`Copy ${what}`}
          color={copied ? "teal" : "gray"}
        >
          {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
        </ActionIcon>
      )}
    </CopyButton>
  );
}

export function CopyAs({ value, children }: { value: string; children: ReactNode }) {
  return (
    <CopyButton value={value} timeout={1500}>
      {({ copied, copy }) => (
        <Button
          variant="default"
          size="xs"
          onClick={copy}
          leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
        >
          {copied ? "Copied" : children}
        </Button>
      )}
    </CopyButton>
  );
}

/** An id or another value that people paste elsewhere. */
export function Id({ value, what = "id" }: { value: string; what?: string }) {
  return (
    <Group gap={4} wrap="nowrap" miw={0}>
      <Text ff="monospace" size="xs" truncate title={value}>
        {value}
      </Text>
      <Copy value={value} what={what} />
    </Group>
  );
}
