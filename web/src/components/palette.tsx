// The command palette: pages, commands, and whatever an id or a few letters find.
import { Kbd, Text, UnstyledButton } from "@mantine/core";
import { Spotlight, type SpotlightActionData, type SpotlightActionGroupData, spotlight } from "@mantine/spotlight";
import {
  IconBolt,
  IconKeyboard,
  IconLogout,
  IconMoonStars,
  IconPlus,
  IconSearch,
  IconSend,
  IconUsersGroup,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { signOut } from "../data/session";
import { patternFault, subscriptionChoices } from "../data/subscriptions";
import { useSchemeToggle } from "./account";
import { hostPath } from "./format";
import { showKeys } from "./keyboard";
import { places } from "./navigation";
import classes from "./shell.module.css";

export function SearchButton() {
  return (
    <UnstyledButton className={classes.search} onClick={spotlight.open}>
      <IconSearch size={15} />
      <Text size="sm" flex={1} truncate>
        Search or jump to…
      </Text>
      <Kbd size="xs" visibleFrom="sm" aria-hidden>
        /
      </Kbd>
    </UnstyledButton>
  );
}

/** What a pasted id opens, or what can be looked for with the text. */
export function lookups(text: string): { label: string; to: string; search?: Record<string, string> }[] {
  const query = text.trim();
  if (/^evt_\w+$/.test(query)) return [{ label: `Open the event ${query}`, to: `/ui/events/${query}` }];
  if (/^dlv_\w+$/.test(query)) return [{ label: `Open the delivery ${query}`, to: `/ui/deliveries/${query}` }];
  if (/^sub_\w+$/.test(query)) return [{ label: `Open the subscription ${query}`, to: `/ui/subscriptions/${query}` }];
  if (query.length < 2) return [];
  return [
    ...(!patternFault(query)
      ? [{ label: `Events of the type ${query}`, to: "/ui/events", search: { type: query } }]
      : []),
    { label: `Events whose id or idempotency key begins with “${query}”`, to: "/ui/events", search: { q: query } },
  ];
}

export function Palette() {
  const navigate = useNavigate();
  const [query, setQuery] = useState("");
  const { toggle } = useSchemeToggle();
  const subscriptions = useQuery(subscriptionChoices()).data ?? [];
  const go = (to: string, search?: Record<string, string>) => void navigate({ to, search } as never);

  const commands: SpotlightActionData[] = [
    {
      id: "publish",
      label: "Publish an event",
      leftSection: <IconBolt size={18} />,
      onClick: () => go("/ui/events/publish"),
    },
    {
      id: "create",
      label: "Create a subscription",
      leftSection: <IconPlus size={18} />,
      onClick: () => go("/ui/subscriptions/new"),
    },
    {
      id: "failed",
      label: "Deliveries given up",
      keywords: ["exhausted", "failed"],
      leftSection: <IconSend size={18} />,
      onClick: () => go("/ui/deliveries", { status: "exhausted" }),
    },
    { id: "theme", label: "Switch between light and dark", leftSection: <IconMoonStars size={18} />, onClick: toggle },
    { id: "keys", label: "Show the keys", leftSection: <IconKeyboard size={18} />, onClick: showKeys },
    { id: "leave", label: "Sign out", leftSection: <IconLogout size={18} />, onClick: () => void signOut() },
  ];
  const actions: SpotlightActionGroupData[] = [
    {
      group: "Found",
      actions: lookups(query).map((l) => ({
        id: l.label,
        label: l.label,
        keywords: query,
        leftSection: <IconSearch size={18} />,
        onClick: () => go(l.to, l.search),
      })),
    },
    {
      group: "Pages",
      actions: places.map((p) => ({
        id: p.label,
        label: p.label,
        leftSection: <p.icon size={18} />,
        onClick: () => go(String(p.to)),
      })),
    },
    { group: "Commands", actions: commands },
    {
      group: "Subscriptions",
      actions: subscriptions.map((s) => ({
        id: s.id,
        label: s.description || hostPath(s.url),
        description: s.description ? hostPath(s.url) : undefined,
        keywords: [s.url, s.id],
        leftSection: <IconUsersGroup size={18} />,
        onClick: () => go(`/ui/subscriptions/${s.id}`),
      })),
    },
  ];
  return (
    <Spotlight
      actions={actions}
      query={query}
      onQueryChange={setQuery}
      limit={12}
      scrollable
      maxHeight={440}
      shortcut="mod + K"
      nothingFound="Nothing found"
      highlightQuery
      attributes={{ content: { "aria-label": "Search" } }}
      searchProps={{
        leftSection: <IconSearch size={18} />,
        placeholder: "A page, a command, an id, an event type…",
        "aria-label": "Search",
      }}
    />
  );
}
