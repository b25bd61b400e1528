// Health of the service and its parts. The live stream says when to ask again.
import { queryOptions } from "@tanstack/react-query";
import { getHealth, type HealthReport } from "./api";
import { problemOf } from "./problem";

export type { Component, HealthReport } from "./api";

export function health() {
  return queryOptions({
    queryKey: ["health"],
    queryFn: async ({ signal }): Promise<HealthReport> => {
      const { data, error, response } = await getHealth({ signal });
      // 503 carries the same report: a part being down is an answer, not a failure to answer.
      const report = (data ?? error) as HealthReport | undefined;
      if (report && Array.isArray(report.components)) return report;
      throw problemOf(error, response);
    },
  });
}
