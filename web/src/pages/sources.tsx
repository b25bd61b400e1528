// The sources: other providers' webhooks that come in as events.
import { Badge } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { count } from "../components/format";
import { ButtonLink } from "../components/link";
import { List } from "../components/list";
import { Page } from "../components/page";
import { type Column, rowLink } from "../components/rows";
import { Empty } from "../components/states";
import { Time } from "../components/time";
import { type Source, sourceList } from "../data/sources";
import { providerLabel } from "./sourcevalues";

/** Whether a source takes anything in; one without a secret refuses everything. */
export function SourceState({ source: s }: { source: Source }) {
  if (!s.enabled) return <Badge color="gray">Disabled</Badge>;
  if (s.secrets.length === 0) return <Badge color="orange">Needs its secret</Badge>;
  return <Badge color="teal">Enabled</Badge>;
}

const columns: Column<Source>[] = [
  {
    title: "Source",
    width: "minmax(150px, 2fr)",
    narrow: "line",
    cell: (s) => (
      <Link to="/ui/sources/$id" params={{ id: s.id }} className={rowLink}>
        {s.name}
      </Link>
    ),
  },
  { title: "Signed by", width: "minmax(120px, 1fr)", cell: (s) => providerLabel(s.provider) },
  { title: "State", width: "140px", cell: (s) => <SourceState source={s} /> },
  { title: "Accepted", width: "80px", align: "right", cell: (s) => count(s.accepted) },
  { title: "Duplicates", width: "84px", align: "right", narrow: "hidden", cell: (s) => count(s.duplicates) },
  { title: "Refused", width: "74px", align: "right", narrow: "hidden", cell: (s) => count(s.refused) },
  { title: "Last event", width: "90px", align: "right", cell: (s) => <Time at={s.last_accepted_at} /> },
];

export default function Sources() {
  const list = useInfiniteQuery(sourceList());
  return (
    <Page
      title="Sources"
      lead="Webhooks of others that come in as events, once their signature is verified."
      actions={
        <ButtonLink to="/ui/sources/new" leftSection={<IconPlus size={16} />}>
          Create
        </ButtonLink>
      }
    >
      <List
        label="Sources"
        query={list}
        columns={columns}
        keyOf={(s) => s.id}
        none={
          <Empty
            title="No sources yet"
            action={
              <ButtonLink to="/ui/sources/new" size="xs">
                Create the first one
              </ButtonLink>
            }
          >
            A source is a URL that GitHub, Stripe, Shopify, Slack or any other sender of signed webhooks posts to. What
            comes in is delivered to your subscriptions like any event.
          </Empty>
        }
      />
    </Page>
  );
}
