// Lists: rows of cells on a wide screen, stacked on a narrow one. A row is opened by the link in its first cell, which
// covers it; j and k walk from row to row.
import { Box, Checkbox } from "@mantine/core";
import clsx from "clsx";
import { type CSSProperties, type KeyboardEvent, memo, type ReactNode } from "react";
import classes from "./rows.module.css";

export interface Column<T> {
  title: string;
  /** A grid track: "120px", "2fr", "minmax(0, 1fr)". */
  width: string;
  cell: (row: T) => ReactNode;
  /** On a narrow screen: a line of its own, beside the others (the default), or left out. */
  narrow?: "line" | "beside" | "hidden";
  align?: "right";
}

export interface Selection<T> {
  selected: ReadonlySet<string>;
  onChange: (selected: Set<string>) => void;
  name: (row: T) => string;
}

export interface RowsProps<T> {
  label: string;
  columns: Column<T>[];
  rows: T[];
  keyOf: (row: T) => string;
  selection?: Selection<T>;
}

function tracks<T>(columns: Column<T>[], selection: boolean): CSSProperties {
  const all = columns.map((c) => c.width);
  return { "--ph-tracks": (selection ? ["28px", ...all] : all).join(" ") } as CSSProperties;
}

export function Rows<T>({ label, columns, rows, keyOf, selection }: RowsProps<T>) {
  return (
    <Box
      role="table"
      aria-label={label}
      className={classes.table}
      style={tracks(columns, !!selection)}
      onKeyDown={walk}
    >
      <Head columns={columns} select={selection && <SelectAll rows={rows} keyOf={keyOf} selection={selection} />} />
      <Box role="rowgroup">
        {rows.map((row) => (
          <Row key={keyOf(row)} row={row} columns={columns} id={keyOf(row)} selection={selection} />
        ))}
      </Box>
    </Box>
  );
}

export function Head<T>({ columns, select }: { columns: Column<T>[]; select?: ReactNode }) {
  return (
    <Box role="rowgroup" className={classes.head}>
      <Box role="row" className={classes.row}>
        {select && (
          <Box role="columnheader" className={classes.select}>
            {select}
          </Box>
        )}
        {columns.map((c) => (
          <Box role="columnheader" key={c.title} className={clsx(c.align === "right" && classes.right)}>
            {c.title}
          </Box>
        ))}
      </Box>
    </Box>
  );
}

interface RowProps<T> {
  row: T;
  columns: Column<T>[];
  id: string;
  selection?: Selection<T>;
}

function PlainRow<T>({ row, columns, id, selection }: RowProps<T>) {
  const chosen = selection?.selected.has(id);
  return (
    <Box role="row" className={clsx(classes.row, classes.body, chosen && classes.chosen)}>
      {selection && (
        <Box role="cell" className={classes.select}>
          <Checkbox
            size="xs"
            checked={chosen}
            aria-label={`Select ${selection.name(row)}`}
            onChange={(e) => {
              const next = new Set(selection.selected);
              if (e.currentTarget.checked) next.add(id);
              else next.delete(id);
              selection.onChange(next);
            }}
          />
        </Box>
      )}
      {columns.map((c) => (
        <Box
          role="cell"
          key={c.title}
          className={clsx(classes.cell, c.align === "right" && classes.right)}
          data-narrow={c.narrow ?? "beside"}
          data-title={c.title}
        >
          {c.cell(row)}
        </Box>
      ))}
    </Box>
  );
}

/** Drawn again only when it has changed: in a busy list each update concerns a few rows. */
export const Row = memo(
  PlainRow,
  (a, b) =>
    a.row === b.row && a.columns === b.columns && a.id === b.id && a.selection?.selected === b.selection?.selected,
) as typeof PlainRow;

function SelectAll<T>({ rows, keyOf, selection }: { rows: T[]; keyOf: (row: T) => string; selection: Selection<T> }) {
  const all = rows.length > 0 && rows.every((r) => selection.selected.has(keyOf(r)));
  return (
    <Checkbox
      size="xs"
      aria-label="Select all rows shown"
      checked={all}
      indeterminate={!all && selection.selected.size > 0}
      onChange={() => selection.onChange(all ? new Set() : new Set(rows.map(keyOf)))}
    />
  );
}

function walk(e: KeyboardEvent<HTMLElement>) {
  if ((e.key !== "j" && e.key !== "k") || e.ctrlKey || e.metaKey || e.altKey) return;
  const rows = e.currentTarget.querySelectorAll("[role=row]");
  const links = [...rows].flatMap((row) => row.querySelector<HTMLElement>("[role=cell] a") ?? []);
  const at = links.findIndex((a) => a.closest("[role=row]")?.contains(document.activeElement));
  if (at < 0) return;
  // At either end too: the page would take the key for the way to the first row.
  e.preventDefault();
  links[at + (e.key === "j" ? 1 : -1)]?.focus();
}

/** The class of the link that opens a row. */
export const rowLink = classes.link;
