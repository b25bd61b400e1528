// The audit log: who changed what, from where, and what it was before.
import { Code, Modal, Stack, Table, Text } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Id } from "../components/copy";
import { ChoiceFilter, TextFilter, TimeFilter } from "../components/filters";
import { TextLink } from "../components/link";
import { Filters, List, NoMatch, rowsOf, useFilters } from "../components/list";
import { Fact, Facts, Page } from "../components/page";
import { type Column, rowLink } from "../components/rows";
import { Empty } from "../components/states";
import { Time } from "../components/time";
import { type AuditEntry, auditLog, type Difference, differences, placeOf } from "../data/audit";

const route = getRouteApi("/ui/audit");

const nouns = [
  "subscription",
  "secret",
  "delivery",
  "event",
  "replay",
  "event_type",
  "catalogue",
  "source",
  "key",
  "tenant",
  "worker",
  "session",
].map((noun) => ({ value: `${noun}.*`, label: noun.replace("_", " ") }));

const vias = { key: "API key", session: "dashboard", command: "command line" };

function Who({ entry: e }: { entry: AuditEntry }) {
  return <>{e.key_name || (e.via === "command" ? "an operator" : "–")}</>;
}

const columns: Column<AuditEntry>[] = [
  {
    title: "Action",
    width: "minmax(150px, 1fr)",
    narrow: "line",
    cell: (e) => (
      <Link to="." search={(old) => ({ ...old, entry: e.id })} replace className={rowLink}>
        {e.action}
      </Link>
    ),
  },
  {
    title: "What",
    width: "minmax(160px, 1.4fr)",
    narrow: "line",
    cell: (e) => (
      <Text span ff="monospace" size="xs" c={e.object ? undefined : "dimmed"}>
        {e.object ?? "several"}
      </Text>
    ),
  },
  { title: "Who", width: "minmax(110px, 1fr)", cell: (e) => <Who entry={e} /> },
  { title: "By way of", width: "110px", cell: (e) => vias[e.via] },
  { title: "From", width: "120px", narrow: "hidden", cell: (e) => e.forwarded_for ?? e.address ?? "–" },
  { title: "When", width: "90px", align: "right", cell: (e) => <Time at={e.at} /> },
];

export default function Audit() {
  const { filter, set } = useFilters(route);
  const { entry, ...narrowed } = filter;
  const list = useInfiniteQuery(auditLog(narrowed));
  const shown = rowsOf(list.data).find((e) => e.id === entry);
  return (
    <Page title="Audit log" lead="Who changed what, and who was shown a secret. Secrets themselves are never in it.">
      <Filters label="Filter the audit log">
        <ChoiceFilter label="Kind" choices={nouns} value={filter.action} onChange={(action) => set({ action })} />
        <TextFilter
          label="Id of what was changed"
          placeholder="Id of what was changed"
          width={260}
          value={filter.object}
          onChange={(object) => set({ object })}
        />
        <TimeFilter since={filter.since} until={filter.until} onChange={set} />
      </Filters>
      <List
        label="Audit log"
        query={list}
        columns={columns}
        keyOf={(e) => e.id}
        none={
          Object.values(narrowed).some(Boolean) ? (
            <NoMatch what="entry" />
          ) : (
            <Empty title="Nothing has been changed yet">Every change by a person or a program is noted here.</Empty>
          )
        }
      />
      {shown && <Entry entry={shown} onClose={() => set({ entry: undefined })} />}
    </Page>
  );
}

function Entry({ entry: e, onClose }: { entry: AuditEntry; onClose: () => void }) {
  const place = placeOf(e.object);
  return (
    <Modal opened onClose={onClose} title={e.action} size="lg">
      <Stack>
        <Facts>
          <Fact name="When">
            <Time at={e.at} as="full" />
          </Fact>
          <Fact name="Who">
            <Who entry={e} />, by {vias[e.via]}
          </Fact>
          <Fact name="From">{e.forwarded_for ? `${e.forwarded_for}, through ${e.address}` : (e.address ?? "–")}</Fact>
          {e.object && (
            <Fact name="What">
              {place ? (
                <TextLink to={place} inherit ff="monospace" fz="xs">
                  {e.object}
                </TextLink>
              ) : (
                <Id value={e.object} />
              )}
            </Fact>
          )}
          {e.request_id && (
            <Fact name="Request">
              <Id value={e.request_id} what="request id" />
            </Fact>
          )}
        </Facts>
        <Changes list={differences(e)} />
      </Stack>
    </Modal>
  );
}

function Changes({ list }: { list: Difference[] }) {
  if (list.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        What it was and became is not part of this entry.
      </Text>
    );
  }
  return (
    <Table layout="fixed" fz="xs" aria-label="What changed">
      <Table.Thead>
        <Table.Tr>
          <Table.Th w="26%">Field</Table.Th>
          <Table.Th>Before</Table.Th>
          <Table.Th>After</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {list.map((d) => (
          <Table.Tr key={d.field}>
            <Table.Th scope="row" fw={500}>
              {d.field}
            </Table.Th>
            <Table.Td>
              <Value value={d.before} />
            </Table.Td>
            <Table.Td>
              <Value value={d.after} />
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Value({ value }: { value: unknown }) {
  if (value === undefined || value === null || value === "")
    return (
      <Text span size="xs" c="dimmed">
        –
      </Text>
    );
  return (
    <Code style={{ overflowWrap: "anywhere", whiteSpace: "pre-wrap" }}>
      {typeof value === "string" ? value : JSON.stringify(value, null, 1)}
    </Code>
  );
}
