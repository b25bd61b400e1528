import { AppShell, Box, Burger, Group, ScrollArea, Text, UnstyledButton, VisuallyHidden } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Link, Outlet, useLocation } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { Account } from "./account";
import { useKeyboard } from "./keyboard";
import { LiveState, Unreachable } from "./livestate";
import { Logo } from "./logo";
import { Navigation } from "./navigation";
import { Palette, SearchButton } from "./palette";
import classes from "./shell.module.css";

/** What surrounds every page: navigation, search, the live state and the account. */
export function Shell() {
  const [opened, menu] = useDisclosure();
  const path = useLocation({ select: (l) => l.pathname });
  const main = useRef<HTMLDivElement>(null);
  const { close } = menu;
  useKeyboard();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new page closes the menu and begins at its top
  useEffect(() => close(), [path, close]);
  return (
    <AppShell
      layout="alt"
      header={{ height: 56 }}
      navbar={{ width: 224, breakpoint: "sm", collapsed: { mobile: !opened } }}
      padding={{ base: "sm", sm: "lg" }}
    >
      <button type="button" className={classes.skip} onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <AppShell.Header className={classes.header}>
        <Group h="100%" px={{ base: "sm", sm: "lg" }} justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap" flex={1}>
            <Burger opened={opened} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
            <SearchButton />
          </Group>
          <Group gap="xs" wrap="nowrap">
            <LiveState />
            <Account />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className={classes.navbar} aria-label="Main">
        <Group h={56} px="md" justify="space-between" flex="none">
          <UnstyledButton component={Link} to="/">
            <Group gap={10}>
              <Logo />
              <Text fw={700} fz={17} lts={-0.2}>
                Posthorn
              </Text>
              <VisuallyHidden>Overview</VisuallyHidden>
            </Group>
          </UnstyledButton>
          <Burger opened={opened} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Close the menu" />
        </Group>
        <ScrollArea flex={1} px="sm">
          <Navigation />
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main className={classes.main} ref={main} id="main" tabIndex={-1}>
        <Box maw={1360} mx="auto">
          <Unreachable />
          <Outlet />
        </Box>
      </AppShell.Main>
      <Palette />
    </AppShell>
  );
}
