// The JSON editor. It is heavy, so pages load it when it is first shown.
import { json, jsonParseLinter } from "@codemirror/lang-json";
import { linter } from "@codemirror/lint";
import { EditorView } from "@codemirror/view";
import { useComputedColorScheme } from "@mantine/core";
import CodeMirror from "@uiw/react-codemirror";
import { useMemo } from "react";

interface Props {
  value: string;
  onChange: (value: string) => void;
  label: string;
  /** Whether what is not JSON is marked as wrong. */
  strict: boolean;
}

export default function JsonEditor({ value, onChange, label, strict }: Props) {
  const scheme = useComputedColorScheme("light");
  const extensions = useMemo(
    () => [
      ...(strict ? [json(), linter(jsonParseLinter())] : []),
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": label }),
      EditorView.theme({
        "&": { backgroundColor: "var(--ph-code) !important", fontSize: "13px" },
        ".cm-gutters": { backgroundColor: "transparent !important", color: "var(--mantine-color-dimmed)" },
        ".cm-content": { fontFamily: "var(--mantine-font-family-monospace)" },
      }),
    ],
    [label, strict],
  );
  return (
    <CodeMirror
      value={value}
      onChange={onChange}
      extensions={extensions}
      theme={scheme}
      minHeight="220px"
      maxHeight="520px"
      basicSetup={{ foldGutter: true, highlightActiveLine: false, highlightActiveLineGutter: false }}
      style={{ border: "1px solid var(--ph-line)", borderRadius: "var(--mantine-radius-sm)", overflow: "hidden" }}
    />
  );
}
