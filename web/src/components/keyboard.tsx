import { Group, Kbd, Stack, Table, Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { spotlight } from "@mantine/spotlight";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { places } from "./navigation";

/** Shows all keys. A second ? does not show them twice. */
export function showKeys() {
  modals.open({ modalId: "keys", title: "Keys", children: <Help /> });
}

const keys: [string[], string][] = [
  [["/"], "Search, or run a command"],
  [["?"], "Show these keys"],
  [["g", "…"], "Go to a page (see below)"],
  [["p"], "Publish an event"],
  [["j"], "Next row of a list"],
  [["k"], "Row before"],
  [["Esc"], "Close what is open"],
];

function typing(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && !!target.closest("input, textarea, select, [contenteditable=true], [role=dialog]")
  );
}

/** The keys that work on every page. Single letters do nothing while something is being typed. */
export function useKeyboard() {
  const navigate = useNavigate();
  const going = useRef(0);
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || typing(e.target)) return;
      const afterG = Date.now() - going.current < 1500;
      going.current = 0;
      const place = afterG ? places.find((p) => p.key === e.key) : undefined;
      if (place) void navigate({ to: place.to });
      else if (e.key === "/") spotlight.open();
      else if (e.key === "?") showKeys();
      else if (e.key === "g") going.current = Date.now();
      else if (e.key === "p") void navigate({ to: "/ui/events/publish" });
      else if (e.key === "j") document.querySelector<HTMLElement>("[role=table] [role=cell] a")?.focus();
      else return;
      e.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [navigate]);
}

function Help() {
  return (
    <Stack gap="xs">
      <Table verticalSpacing={6}>
        <Table.Tbody>
          {keys.map(([combination, what]) => (
            <KeyRow key={what} combination={combination} what={what} />
          ))}
          {places.map((p) => (
            <KeyRow key={p.label} combination={["g", p.key]} what={p.label} />
          ))}
        </Table.Tbody>
      </Table>
      <Text size="xs" c="dimmed">
        Ctrl K or ⌘ K opens the search too, also while typing.
      </Text>
    </Stack>
  );
}

function KeyRow({ combination, what }: { combination: string[]; what: string }) {
  return (
    <Table.Tr>
      <Table.Td w={90}>
        <Group gap={4}>
          {combination.map((k) => (
            <Kbd key={k}>{k}</Kbd>
          ))}
        </Group>
      </Table.Td>
      <Table.Td>{what}</Table.Td>
    </Table.Tr>
  );
}
