// Where the time of one attempt went: DNS, connect, TLS, waiting, reading, drawn to scale.
import { Box, Group, Stack, Text } from "@mantine/core";
import { milliseconds } from "./format";

/** Milliseconds, each phase by itself but first_byte and total, which count from the start. */
export interface Timing {
  dns: number;
  connect: number;
  tls: number;
  firstByte: number;
  total: number;
  reused: boolean;
}

export interface Phase {
  name: string;
  from: number;
  took: number;
  color: string;
}

/** The phases in order; those that did not happen are left out, and none reaches past the total. */
export function phases(t: Timing): Phase[] {
  const out: Phase[] = [];
  let at = 0;
  const add = (name: string, took: number, color: string) => {
    if (took <= 0) return;
    const kept = Math.min(took, Math.max(0, t.total - at));
    out.push({ name, from: at, took: kept, color });
    at += kept;
  };
  add("DNS", t.dns, "var(--mantine-color-cyan-6)");
  add("Connect", t.connect, "var(--mantine-color-orange-6)");
  add("TLS", t.tls, "var(--mantine-color-violet-5)");
  add("Waiting", t.firstByte > 0 ? t.firstByte - at : t.total - at, "var(--mantine-color-brand-5)");
  if (t.firstByte > 0) add("Reading", t.total - at, "var(--mantine-color-teal-6)");
  return out;
}

export function Waterfall({ timing }: { timing: Timing }) {
  const all = phases(timing);
  const scale = 100 / Math.max(timing.total, 0.001);
  return (
    <Stack gap={6} role="list" aria-label="Timing">
      {all.map((p) => (
        <Group key={p.name} gap="sm" wrap="nowrap" role="listitem">
          <Text size="xs" c="dimmed" w={60} flex="none">
            {p.name}
          </Text>
          <Box flex={1} h={12} pos="relative" bg="var(--ph-code)" style={{ borderRadius: 3 }}>
            <Box
              pos="absolute"
              h="100%"
              left={`${p.from * scale}%`}
              w={`max(2px, ${p.took * scale}%)`}
              bg={p.color}
              style={{ borderRadius: 3 }}
            />
          </Box>
          <Text size="xs" ff="monospace" w={64} ta="right" flex="none">
            {milliseconds(p.took)}
          </Text>
        </Group>
      ))}
      <Text size="xs" c="dimmed">
        {milliseconds(timing.total)} in all{timing.reused ? ", on a connection that was open already" : ""}
      </Text>
    </Stack>
  );
}
