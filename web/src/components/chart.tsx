// Charts over time. recharts is heavy, so pages load this when it is first shown.
import { AreaChart, BarChart } from "@mantine/charts";
import "@mantine/charts/styles.css";

export interface Series {
  name: string;
  label: string;
  color: string;
}

interface Props {
  data: Record<string, string | number | null>[];
  series: Series[];
  /** points: an area that also shows values with nothing beside them. */
  kind: "area" | "points" | "bars";
  unit: (value: number) => string;
  label: string;
  height?: number;
}

const shared = {
  dataKey: "at",
  withLegend: true,
  legendProps: { verticalAlign: "top" as const, height: 34 },
  tickLine: "none" as const,
  gridAxis: "x" as const,
  xAxisProps: { minTickGap: 40, tickMargin: 8 },
};

export default function Chart({ data, series, kind, unit, label, height = 240 }: Props) {
  const props = {
    ...shared,
    data,
    series,
    h: height,
    valueFormatter: unit,
    yAxisProps: { width: 64, tickFormatter: unit },
  };
  return (
    <div role="img" aria-label={label}>
      {kind !== "bars" ? (
        <AreaChart
          {...props}
          curveType="monotone"
          withDots={kind === "points"}
          dotProps={{ r: 2, strokeWidth: 0 }}
          activeDotProps={{ r: 4, strokeWidth: 0 }}
          strokeWidth={1.8}
          fillOpacity={0.14}
          connectNulls={false}
          areaProps={{ isAnimationActive: false }}
        />
      ) : (
        <BarChart {...props} type="stacked" barProps={{ isAnimationActive: false, maxBarSize: 18 }} />
      )}
    </div>
  );
}
