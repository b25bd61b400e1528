// The look of the dashboard. Mantine's defaults miss WCAG AA in places (dimmed text, badges, errors on light; dimmed on
// dark); the corrections are all here and nowhere else.
import {
  Accordion,
  ActionIcon,
  Badge,
  Button,
  type CSSVariablesResolver,
  createTheme,
  type MantineColorsTuple,
  Modal,
  Paper,
  Table,
  Tooltip,
} from "@mantine/core";

const brand: MantineColorsTuple = [
  "#eef1ff",
  "#dfe5ff",
  "#c0caff",
  "#9dacfd",
  "#8093f7",
  "#6a7ff0",
  "#5468e4",
  "#3f52cf",
  "#3345b0",
  "#27368c",
];

// A cooler dark than the default, with steps wide enough to tell a card from the page behind it.
const dark: MantineColorsTuple = [
  "#dde1ea",
  "#b4bbca",
  "#99a1b3",
  "#6f7789",
  "#3b4252",
  "#2c3240",
  "#222733",
  "#181c26",
  "#11141c",
  "#0b0d13",
];

/** The colours that carry a meaning somewhere; see components/status.tsx. */
const meaningful = ["gray", "red", "orange", "yellow", "green", "teal", "cyan", "blue", "brand", "violet"] as const;

export const theme = createTheme({
  primaryColor: "brand",
  primaryShade: { light: 7, dark: 7 },
  colors: { brand, dark },
  autoContrast: true,
  fontFamily: "'Inter Variable', system-ui, sans-serif",
  fontFamilyMonospace: "'JetBrains Mono Variable', ui-monospace, monospace",
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  headings: { fontWeight: "650" },
  components: {
    Accordion: Accordion.extend({ styles: { label: { fontSize: "var(--mantine-font-size-sm)", fontWeight: 550 } } }),
    ActionIcon: ActionIcon.extend({ defaultProps: { variant: "subtle", color: "gray" } }),
    Badge: Badge.extend({ defaultProps: { variant: "light", radius: "sm", tt: "none", fw: 550 } }),
    Button: Button.extend({ defaultProps: { fw: 550 } }),
    Modal: Modal.extend({
      defaultProps: {
        centered: true,
        closeButtonProps: { "aria-label": "Close" },
        attributes: { header: { role: "presentation" } },
      },
    }),
    Paper: Paper.extend({ defaultProps: { withBorder: true, radius: "md", p: "md" } }),
    Table: Table.extend({ defaultProps: { verticalSpacing: "xs", horizontalSpacing: "sm" } }),
    Tooltip: Tooltip.extend({
      defaultProps: { withArrow: true, openDelay: 300, events: { hover: true, focus: true, touch: true } },
    }),
  },
});

function lightVariants(shade: { text: number; tint: string }): Record<string, string> {
  const out: Record<string, string> = {};
  for (const color of meaningful) {
    out[`--mantine-color-${color}-light-color`] = `var(--mantine-color-${color}-${shade.text})`;
    out[`--mantine-color-${color}-light`] =
      `color-mix(in srgb, var(--mantine-color-${color}-5) ${shade.tint}, transparent)`;
    out[`--mantine-color-${color}-outline`] = `var(--mantine-color-${color}-${shade.text})`;
  }
  return out;
}

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": "#4d5664",
    "--mantine-color-placeholder": "#68707d",
    "--mantine-color-error": "var(--mantine-color-red-9)",
    "--mantine-color-anchor": "var(--mantine-color-brand-8)",
    "--mantine-color-gray-light-color": "#3d4450",
    "--ph-canvas": "#f5f6f9",
    "--ph-line": "#e2e5eb",
    "--ph-hover": "#f0f2f7",
    "--ph-code": "#f7f8fa",
    ...lightVariants({ text: 9, tint: "14%" }),
    // The palette's own shades 9 of the light hues are not dark enough on their tint.
    "--mantine-color-orange-light-color": "#a33d00",
    "--mantine-color-yellow-light-color": "#8a4b00",
    "--mantine-color-green-light-color": "#1d6b30",
    "--mantine-color-teal-light-color": "#056646",
    "--mantine-color-cyan-light-color": "#0a5566",
    "--mantine-color-red-light-color": "#a61e1e",
    "--ph-good": "#087f5b",
    "--ph-bad": "#c92a2a",
    "--ph-warn": "#b35c00",
    "--ph-info": "#3f52cf",
    "--ph-key": "#3345b0",
    "--ph-string": "#1d6b30",
    "--ph-number": "#a33d00",
    "--ph-literal": "#8f2f8f",
  },
  dark: {
    "--mantine-color-body": "var(--mantine-color-dark-7)",
    "--mantine-color-dimmed": "var(--mantine-color-dark-1)",
    "--mantine-color-placeholder": "var(--mantine-color-dark-2)",
    "--mantine-color-error": "var(--mantine-color-red-4)",
    "--mantine-color-anchor": "var(--mantine-color-brand-3)",
    "--ph-canvas": "#10131a",
    "--ph-line": "#2a303d",
    "--ph-hover": "#1f2430",
    "--ph-code": "#131720",
    ...lightVariants({ text: 3, tint: "18%" }),
    "--ph-good": "#38d9a9",
    "--ph-bad": "#ff8787",
    "--ph-warn": "#ffa94d",
    "--ph-info": "#9dacfd",
    "--ph-key": "#9dacfd",
    "--ph-string": "#8ce99a",
    "--ph-number": "#ffc078",
    "--ph-literal": "#e599f7",
  },
});
