interface Props {
  values: number[];
  /** What the line shows, for those who cannot see it. */
  label: string;
  color?: string;
  width?: number;
  height?: number;
  /** The value that reaches the top; by default the largest. */
  max?: number;
}

/** A small line with its area, without axes. */
export function Sparkline({ values, label, color = "var(--ph-info)", width = 120, height = 28, max }: Props) {
  const points = linePoints(values, width, height, max);
  return (
    <svg
      width={width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={label}
      style={{ maxWidth: "100%" }}
    >
      {points.length > 0 && (
        <>
          <polygon points={`0,${height} ${points.join(" ")} ${width},${height}`} fill={color} opacity={0.16} />
          <polyline points={points.join(" ")} fill="none" stroke={color} strokeWidth={1.5} strokeLinejoin="round" />
        </>
      )}
    </svg>
  );
}

/** Where a line through the values goes; a line of nothing but zero lies on the floor. */
export function linePoints(values: number[], width: number, height: number, max?: number): string[] {
  if (values.length === 0) return [];
  const top = max ?? Math.max(...values);
  const all = values.length === 1 ? [values[0] ?? 0, values[0] ?? 0] : values;
  return all.map((v, i) => {
    const x = (i / (all.length - 1)) * width;
    const y = top > 0 ? height - 1 - (Math.min(v, top) / top) * (height - 3) : height - 1;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
}
