import { SegmentedControl } from "@mantine/core";
import type { Range } from "../data/stats";

const ranges: { value: Range; label: string }[] = [
  { value: "1h", label: "Hour" },
  { value: "24h", label: "Day" },
  { value: "3d", label: "3 days" },
];

/** A range as the URL has it; the last hour unless it says another. */
export function readRange(text: string | undefined): Range {
  return text === "24h" || text === "3d" ? text : "1h";
}

interface Props {
  value: Range;
  onChange: (range: string | undefined) => void;
  size?: string;
}

/** How far back charts look. The usual range needs no place in the URL. */
export function RangeChoice({ value, onChange, size }: Props) {
  return (
    <SegmentedControl
      aria-label="Time"
      size={size}
      data={ranges}
      value={value}
      onChange={(v) => onChange(v === "1h" ? undefined : v)}
    />
  );
}
