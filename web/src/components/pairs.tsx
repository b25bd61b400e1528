import { ActionIcon, Button, Group, Input, Stack, TextInput } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import type { ReactNode } from "react";

export interface Pair {
  name: string;
  value: string;
}

interface Props {
  label: string;
  description?: string;
  value?: Pair[];
  onChange: (value: Pair[]) => void;
  error?: ReactNode;
}

/** Names and values, as many as wanted. */
export function Pairs({ label, description, value = [], onChange, error }: Props) {
  const change = (i: number, part: Partial<Pair>) => onChange(value.map((p, k) => (k === i ? { ...p, ...part } : p)));
  return (
    <Input.Wrapper label={label} description={description} error={error} labelElement="div">
      <Stack gap={6} mt={4}>
        {value.map((p, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a pair has no identity but its place
          <Group key={i} gap={6} wrap="nowrap">
            <TextInput
              size="xs"
              flex={1}
              placeholder="Name"
              aria-label={`${label}: name ${i + 1}`}
              value={p.name}
              onChange={(e) => change(i, { name: e.currentTarget.value })}
            />
            <TextInput
              size="xs"
              flex={2}
              placeholder="Value"
              aria-label={`${label}: value ${i + 1}`}
              value={p.value}
              onChange={(e) => change(i, { value: e.currentTarget.value })}
            />
            <ActionIcon
              aria-label={`${label}: remove ${p.name || i + 1}`}
              onClick={() => onChange(value.filter((_, k) => k !== i))}
            >
              <IconX size={14} />
            </ActionIcon>
          </Group>
        ))}
        <Group>
          <Button
            size="compact-xs"
            variant="subtle"
            leftSection={<IconPlus size={12} />}
            onClick={() => onChange([...value, { name: "", value: "" }])}
          >
            Add
          </Button>
        </Group>
      </Stack>
    </Input.Wrapper>
  );
}
