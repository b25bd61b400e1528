import { useNow } from "./clock";
import { local, moment, relative, utc } from "./format";

interface Props {
  at: string | null | undefined;
  /** relative: "3 s ago"; moment: "14:02:11"; full: with date and zone. */
  as?: "relative" | "moment" | "full";
}

/** A moment in the reader's zone, with UTC on hover. */
export function Time({ at, as = "relative" }: Props) {
  if (!at) return <>–</>;
  return as === "relative" ? <Relative at={at} /> : <Fixed at={at} as={as} />;
}

/** When something is due: "in 5 m", or "due" once the time has come. */
export function Due({ at }: { at: string | null | undefined }) {
  const now = useNow();
  if (!at) return <>–</>;
  return Date.parse(at) <= now ? <span title={utc(Date.parse(at))}>due</span> : <Time at={at} />;
}

function Relative({ at }: { at: string }) {
  const now = useNow();
  const t = Date.parse(at);
  return (
    <time dateTime={at} title={`${local(t)}\n${utc(t)}`}>
      {relative(t, now)}
    </time>
  );
}

function Fixed({ at, as }: { at: string; as: "moment" | "full" }) {
  const t = Date.parse(at);
  return (
    <time dateTime={at} title={utc(t)}>
      {as === "full" ? local(t) : moment(t, Date.now())}
    </time>
  );
}
