// Filters of lists. Each shows what the URL says and hands a change back for the URL; an empty value takes it out.
import { ActionIcon, Group, Popover, SegmentedControl, Select, Stack, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconCalendarTime, IconSearch, IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { subscriptionChoices } from "../data/subscriptions";
import { fromLocalInput, localInput } from "../data/timerange";
import { hostPath } from "./format";

interface FilterProps {
  value: string | undefined;
  onChange: (value: string | undefined) => void;
}

interface TextProps extends FilterProps {
  label: string;
  placeholder: string;
  width?: number;
  /** What text must look like to count; what does not stands only as long as someone is in the field. */
  accept?: RegExp;
}

/** Text that counts shortly after the last key, or at once on Enter. */
export function TextFilter({ value, onChange, label, placeholder, width = 200, accept }: TextProps) {
  const [text, setText] = useState(value ?? "");
  const sent = useRef(value ?? "");
  const send = (next: string) => {
    sent.current = next;
    onChange(next || undefined);
  };
  const sendSoon = useDebouncedCallback(send, 350);
  const counts = (next: string) => next === "" || !accept || accept.test(next);
  const sendNow = (next: string) => {
    sendSoon.cancel();
    if (counts(next)) send(next);
  };
  const clear = () => {
    setText("");
    sendNow("");
  };
  // The URL may change under the field: the back button, a link that clears the filters.
  useEffect(() => {
    if ((value ?? "") !== sent.current) {
      sendSoon.cancel();
      sent.current = value ?? "";
      setText(value ?? "");
    }
  }, [value, sendSoon]);
  return (
    <TextInput
      aria-label={label}
      placeholder={placeholder}
      size="xs"
      w={{ base: "100%", xs: width }}
      value={text}
      leftSection={<IconSearch size={14} />}
      rightSection={
        text && (
          <ActionIcon size="xs" aria-label={`Clear ${label}`} onClick={clear}>
            <IconX size={12} />
          </ActionIcon>
        )
      }
      onChange={(e) => {
        const next = e.currentTarget.value.trim();
        setText(e.currentTarget.value);
        if (counts(next)) sendSoon(next);
        else sendSoon.cancel();
      }}
      onKeyDown={(e) => e.key === "Enter" && sendNow(text.trim())}
      onBlur={() => counts(text.trim()) || setText(sent.current)}
    />
  );
}

interface ChoiceProps extends FilterProps {
  label: string;
  choices: { value: string; label: string }[];
  width?: number;
}

export function ChoiceFilter({ value, onChange, label, choices, width = 150 }: ChoiceProps) {
  return (
    <Select
      aria-label={label}
      placeholder={label}
      size="xs"
      w={{ base: "calc(50% - 5px)", xs: width }}
      data={choices}
      value={value ?? null}
      onChange={(v) => onChange(v ?? undefined)}
      clearable
      clearButtonProps={{ "aria-label": `Clear ${label}` }}
    />
  );
}

export function SubscriptionFilter({ value, onChange }: FilterProps) {
  const choices = useQuery(subscriptionChoices()).data ?? [];
  const data = choices.map((s) => ({ value: s.id, label: s.description || hostPath(s.url) }));
  if (value && !data.some((d) => d.value === value)) data.push({ value, label: value });
  return (
    <Select
      aria-label="Subscription"
      placeholder="Subscription"
      size="xs"
      w={{ base: "100%", xs: 210 }}
      data={data}
      value={value ?? null}
      onChange={(v) => onChange(v ?? undefined)}
      searchable
      clearable
      clearButtonProps={{ "aria-label": "Clear Subscription" }}
      nothingFoundMessage="No such subscription"
    />
  );
}

const presets = [
  { value: "all", label: "All" },
  { value: "15m", label: "15 m" },
  { value: "1h", label: "1 h" },
  { value: "24h", label: "24 h" },
];

interface TimeProps {
  since: string | undefined;
  until: string | undefined;
  onChange: (range: { since?: string; until?: string }) => void;
}

/** The last minutes or hours, or from one moment to another. */
export function TimeFilter({ since, until, onChange }: TimeProps) {
  const preset = !since && !until ? "all" : until ? "" : (since ?? "");
  const custom = !presets.some((p) => p.value === preset);
  return (
    <Group gap={4} wrap="nowrap">
      <SegmentedControl
        aria-label="Time"
        size="xs"
        data={presets}
        value={custom ? "" : preset}
        onChange={(v) => onChange({ since: v === "all" ? undefined : v, until: undefined })}
      />
      <Popover position="bottom-end" withArrow trapFocus shadow="md">
        <Popover.Target>
          <ActionIcon
            size="md"
            aria-label="From and to"
            title="From and to"
            variant={custom ? "light" : "subtle"}
            color={custom ? "brand" : "gray"}
          >
            <IconCalendarTime size={18} />
          </ActionIcon>
        </Popover.Target>
        <Popover.Dropdown aria-label="From and to">
          <Stack gap="xs">
            <TextInput
              type="datetime-local"
              label="From"
              description="In your time zone"
              size="xs"
              value={localInput(since)}
              onChange={(e) => onChange({ since: fromLocalInput(e.currentTarget.value), until })}
            />
            <TextInput
              type="datetime-local"
              label="To"
              size="xs"
              value={localInput(until)}
              onChange={(e) => onChange({ since, until: fromLocalInput(e.currentTarget.value) })}
            />
          </Stack>
        </Popover.Dropdown>
      </Popover>
    </Group>
  );
}
