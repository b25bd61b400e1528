import { Box, Button, Group, Skeleton, Text } from "@mantine/core";
import { lazy, type ReactNode, Suspense } from "react";
import { indented } from "./json";

const JsonEditor = lazy(() => import("./jsoneditor"));

interface Props {
  label: string;
  description?: ReactNode;
  value: string;
  onChange: (value: string) => void;
  error?: ReactNode;
  /** Whether the text is JSON; anything else is not formatted or marked. */
  json?: boolean;
}

/** An editor with its label, and what is wrong with the text below it. */
export function JsonField({ label, description, value, onChange, error, json = true }: Props) {
  return (
    <Box>
      <Group justify="space-between" mb={4}>
        <Text size="sm" fw={500} aria-hidden>
          {label}
        </Text>
        {json && (
          <Button
            size="compact-xs"
            variant="subtle"
            aria-label={`Format ${label}`}
            onClick={() => onChange(indented(value))}
          >
            Format
          </Button>
        )}
      </Group>
      <Suspense fallback={<Skeleton height={220} />}>
        <JsonEditor value={value} onChange={onChange} label={label} strict={json} />
      </Suspense>
      <Text size="xs" c={error ? "var(--mantine-color-error)" : "dimmed"} mt={4} role={error ? "alert" : undefined}>
        {error || description}
      </Text>
    </Box>
  );
}
