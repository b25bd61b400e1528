import { Box, Button, ScrollArea } from "@mantine/core";
import { useMemo, useState } from "react";
import { Copy } from "./copy";
import classes from "./json.module.css";

type Token = { text: string; kind: "key" | "string" | "number" | "literal" | "plain" };

const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;

/** Splits JSON text into coloured pieces without parsing it, so that it is shown exactly as it is. */
export function tokens(text: string): Token[] {
  const out: Token[] = [];
  let from = 0;
  for (const m of text.matchAll(pattern)) {
    if (m.index > from) out.push({ text: text.slice(from, m.index), kind: "plain" });
    const kind = m[2] !== undefined ? "key" : m[1] !== undefined ? "string" : m[3] !== undefined ? "number" : "literal";
    out.push({ text: m[1] ?? m[0], kind });
    if (m[2] !== undefined) out.push({ text: m[2], kind: "plain" });
    from = m.index + m[0].length;
  }
  if (from < text.length) out.push({ text: text.slice(from), kind: "plain" });
  return out;
}

/**
 * JSON with line breaks and indentation put in, and nothing else changed: numbers and strings stay as they were written,
 * which JSON.parse would not promise. Text that is not JSON comes back as it is.
 */
export function indented(text: string): string {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let out = "";
  let depth = 0;
  const newline = () => `\n${"  ".repeat(depth)}`;
  const pieces = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  pieces.forEach((piece, i) => {
    const next = pieces[i + 1];
    if (piece === "{" || piece === "[") {
      depth++;
      out += next === "}" || next === "]" ? piece : piece + newline();
    } else if (piece === "}" || piece === "]") {
      depth--;
      const empty = pieces[i - 1] === "{" || pieces[i - 1] === "[";
      out += empty ? piece : newline() + piece;
    } else if (piece === ",") out += piece + newline();
    else out += piece === ":" ? ": " : piece;
  });
  return out;
}

/** How much is coloured at first: a page with a megabyte of spans is slow to open. */
const colouredAtOnce = 20_000;

function piece(t: Token, i: number) {
  if (t.kind === "plain") return t.text;
  return (
    <span key={i} className={classes[t.kind]}>
      {t.text}
    </span>
  );
}

export function JsonView({ text, label, maxHeight = 420 }: { text: string; label: string; maxHeight?: number }) {
  const [whole, setWhole] = useState(false);
  const shown = whole ? text : text.slice(0, colouredAtOnce);
  const pieces = useMemo(
    () => (shown.length <= colouredAtOnce && /^\s*[[{"]/.test(shown) ? tokens(shown) : null),
    [shown],
  );
  return (
    <Box className={classes.frame}>
      <ScrollArea.Autosize
        mah={maxHeight}
        type="auto"
        viewportProps={{ tabIndex: 0, role: "region", "aria-label": label }}
      >
        <pre className={classes.code}>{pieces ? pieces.map(piece) : shown}</pre>
      </ScrollArea.Autosize>
      {shown.length < text.length && (
        <Button variant="subtle" size="compact-xs" m="xs" onClick={() => setWhole(true)}>
          Show all {Math.ceil(text.length / 1024)} KiB
        </Button>
      )}
    </Box>
  );
}

/** A program's text: not coloured, and its lines are not broken. */
export function CodeView({ text, label }: { text: string; label: string }) {
  return (
    <Box className={classes.frame} pos="relative">
      <Box className={classes.copy}>
        <Copy value={text} what={label} />
      </Box>
      <ScrollArea.Autosize mah={460} type="auto" viewportProps={{ tabIndex: 0, role: "region", "aria-label": label }}>
        <pre className={classes.code} data-program>
          {text}
        </pre>
      </ScrollArea.Autosize>
    </Box>
  );
}
