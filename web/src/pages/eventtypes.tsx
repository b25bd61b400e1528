// The catalogue of event types.
import { Badge, Group, Switch, Text } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ChoiceFilter, TextFilter } from "../components/filters";
import { ButtonLink, TextLink } from "../components/link";
import { Filters, List, NoMatch, useFilters } from "../components/list";
import { Card, Page } from "../components/page";
import { type Column, rowLink } from "../components/rows";
import { Empty, ProblemAlert } from "../components/states";
import { Time } from "../components/time";
import { catalogue, type EventType, eventTypeList, useStrict } from "../data/eventtypes";

const route = getRouteApi("/ui/event-types");

const columns: Column<EventType>[] = [
  {
    title: "Type",
    width: "minmax(150px, 1.2fr)",
    narrow: "line",
    cell: (t) => (
      <Link to="/ui/event-types/$name" params={{ name: t.name }} className={rowLink}>
        {t.name}
      </Link>
    ),
  },
  {
    title: "Description",
    width: "minmax(160px, 2fr)",
    narrow: "line",
    cell: (t) => (
      <Text span size="sm" c="dimmed" title={t.description}>
        {t.description || "–"}
      </Text>
    ),
  },
  { title: "Schema", width: "190px", cell: (t) => <Marks type={t} /> },
  {
    title: "Events",
    width: "70px",
    cell: (t) => (
      <TextLink to="/ui/events" search={{ type: t.name }} size="sm" data-above aria-label={`Show events of ${t.name}`}>
        Show
      </TextLink>
    ),
  },
  { title: "Changed", width: "90px", align: "right", cell: (t) => <Time at={t.updated_at} /> },
];

function Marks({ type: t }: { type: EventType }) {
  return (
    <Group gap={4} wrap="nowrap">
      {t.schema === null ? <Badge color="gray">none</Badge> : <Badge color="blue">JSON Schema</Badge>}
      {t.enforce && <Badge color="teal">enforced</Badge>}
      {t.deprecated && <Badge color="orange">deprecated</Badge>}
    </Group>
  );
}

const choices = [
  { value: "false", label: "In use" },
  { value: "true", label: "Deprecated" },
];

export default function EventTypes() {
  const { filter, set, filtered } = useFilters(route);
  const list = useInfiniteQuery(eventTypeList(filter));
  return (
    <Page
      title="Event types"
      lead="What the events of each type mean and look like."
      actions={
        <ButtonLink to="/ui/event-types/new" leftSection={<IconPlus size={16} />}>
          Create
        </ButtonLink>
      }
    >
      <Strictness />
      <Filters label="Filter event types">
        <TextFilter
          label="Name or description"
          placeholder="Name or description"
          width={260}
          value={filter.q}
          onChange={(q) => set({ q })}
        />
        <ChoiceFilter
          label="Deprecated"
          choices={choices}
          value={filter.deprecated}
          onChange={(deprecated) => set({ deprecated })}
        />
      </Filters>
      <List
        label="Event types"
        query={list}
        columns={columns}
        keyOf={(t) => t.name}
        none={filtered ? <NoMatch what="event type" /> : <NoTypes />}
      />
    </Page>
  );
}

function NoTypes() {
  return (
    <Empty
      title="The catalogue is empty"
      action={
        <ButtonLink to="/ui/event-types/new" size="xs">
          Describe the first type
        </ButtonLink>
      }
    >
      Events of any type are accepted without it. An entry tells subscribers what a type means, and its JSON Schema can
      refuse payloads that would surprise them.
    </Empty>
  );
}

/** Whether types that the catalogue does not have are refused. */
function Strictness() {
  const state = useQuery(catalogue());
  const change = useStrict();
  const strict = state.data?.strict_in_force ?? false;
  return (
    <Card>
      <Switch
        label="Strict catalogue"
        description="Refuse events of types that are not listed here, and payloads that break their schema."
        checked={strict}
        disabled={!state.data || change.isPending}
        onChange={(e) => change.mutate(e.currentTarget.checked)}
      />
      {change.error && <ProblemAlert error={change.error} />}
    </Card>
  );
}
