import { Fragment } from "react";
import { Time } from "./time";

const moment = /(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC(?: \(in [^)]*\))?/g;

/** The API's words, with the moments in them in the reader's zone, and how far ahead they are kept true as time passes. */
export function Explanation({ text }: { text: string }) {
  const out = [];
  let from = 0;
  for (const m of text.matchAll(moment)) {
    const at = `${m[1]}T${m[2]}Z`;
    out.push(
      <Fragment key={m.index}>
        {text.slice(from, m.index)}
        <Time at={at} as="moment" /> (<Time at={at} />)
      </Fragment>,
    );
    from = m.index + m[0].length;
  }
  return (
    <>
      {out}
      {text.slice(from)}
    </>
  );
}
