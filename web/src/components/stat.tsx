import { Paper, Text } from "@mantine/core";
import type { ReactNode } from "react";
import type { Mood } from "../data/stats";

interface Props {
  name: string;
  value: ReactNode;
  note?: ReactNode;
  mood?: Mood;
}

/** One figure with its name. */
export function Stat({ name, value, note, mood }: Props) {
  return (
    <Paper p="md" miw={0}>
      <Text size="xs" c="dimmed">
        {name}
      </Text>
      <Text fz={24} fw={650} lh={1.3} c={mood && `var(--ph-${mood})`} style={{ fontVariantNumeric: "tabular-nums" }}>
        {value}
      </Text>
      <Text size="xs" c="dimmed" mih={18}>
        {note}
      </Text>
    </Paper>
  );
}
