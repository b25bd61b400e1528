import { Table } from "@mantine/core";

type HeaderMap = Record<string, string | string[] | null>;

/** HTTP headers, in order of name. */
export function Headers({ headers, label }: { headers: HeaderMap | null | undefined; label: string }) {
  const rows = Object.entries(headers ?? {}).flatMap(([name, values]) =>
    (Array.isArray(values) ? values : [values ?? ""]).map((value, i) => ({ key: `${name} ${i}`, name, value })),
  );
  if (rows.length === 0) return null;
  return (
    <Table layout="fixed" verticalSpacing={3} horizontalSpacing={0} withRowBorders={false} fz="xs" aria-label={label}>
      <Table.Tbody>
        {rows.map((r) => (
          <Table.Tr key={r.key}>
            <Table.Th
              scope="row"
              w={{ base: 130, sm: 180 }}
              fw={500}
              c="dimmed"
              ta="left"
              style={{ verticalAlign: "top", overflowWrap: "anywhere" }}
            >
              {r.name}
            </Table.Th>
            <Table.Td ff="monospace" style={{ overflowWrap: "anywhere" }}>
              {r.value}
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
