import { Badge, NavLink } from "@mantine/core";
import {
  IconArrowBarToDown,
  IconBolt,
  IconCategory,
  IconGauge,
  IconHistory,
  IconRepeat,
  IconRoute,
  IconSend,
  IconServer2,
  IconSettings,
  IconUsersGroup,
} from "@tabler/icons-react";
import { Link, type LinkProps, useLocation } from "@tanstack/react-router";
import type { ComponentType } from "react";
import { useFailingCount } from "../data/subscriptions";
import classes from "./shell.module.css";

interface Place {
  to: LinkProps["to"];
  label: string;
  icon: ComponentType<{ size?: number; stroke?: number }>;
  /** The key that goes there after g. */
  key: string;
}

export const places: Place[] = [
  { to: "/", label: "Overview", icon: IconGauge, key: "o" },
  { to: "/ui/events", label: "Events", icon: IconBolt, key: "e" },
  { to: "/ui/deliveries", label: "Deliveries", icon: IconSend, key: "d" },
  { to: "/ui/replays", label: "Replays", icon: IconRepeat, key: "r" },
  { to: "/ui/live", label: "Live tail", icon: IconRoute, key: "l" },
  { to: "/ui/event-types", label: "Event types", icon: IconCategory, key: "t" },
  { to: "/ui/subscriptions", label: "Subscriptions", icon: IconUsersGroup, key: "s" },
  { to: "/ui/sources", label: "Sources", icon: IconArrowBarToDown, key: "i" },
  { to: "/ui/workers", label: "Workers and queue", icon: IconServer2, key: "w" },
  { to: "/ui/audit", label: "Audit log", icon: IconHistory, key: "a" },
  { to: "/ui/settings", label: "Settings", icon: IconSettings, key: "," },
];

export function Navigation() {
  const path = useLocation({ select: (l) => l.pathname });
  const failing = useFailingCount();
  return (
    <>
      {places.map((p) => {
        const active = p.to === "/" ? path === "/" : path.startsWith(String(p.to));
        return (
          <NavLink
            key={p.label}
            component={Link}
            to={p.to}
            label={p.label}
            active={active}
            aria-current={active ? "page" : undefined}
            className={classes.nav}
            leftSection={<p.icon size={18} stroke={1.7} />}
            rightSection={
              p.to === "/ui/subscriptions" && failing > 0 ? (
                <Badge color="red" size="sm" aria-label={`${failing} failing`}>
                  {failing}
                </Badge>
              ) : undefined
            }
          />
        );
      })}
    </>
  );
}
