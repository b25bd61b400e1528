import { ActionIcon, Menu, useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { IconBook2, IconKeyboard, IconLogout, IconMoon, IconSun, IconUserCircle } from "@tabler/icons-react";
import { session, signOut } from "../data/session";
import { showKeys } from "./keyboard";

export function useSchemeToggle(): { scheme: "light" | "dark"; toggle: () => void } {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  return { scheme, toggle: () => setColorScheme(scheme === "dark" ? "light" : "dark") };
}

export function SchemeButton() {
  const { scheme, toggle } = useSchemeToggle();
  const label = scheme === "dark" ? "Use the light theme" : "Use the dark theme";
  return (
    <ActionIcon size="lg" onClick={toggle} aria-label={label} title={label}>
      {scheme === "dark" ? <IconSun size={18} /> : <IconMoon size={18} />}
    </ActionIcon>
  );
}

export function Account() {
  const who = session().who;
  return (
    <>
      <SchemeButton />
      <Menu position="bottom-end" width={230}>
        <Menu.Target>
          <ActionIcon size="lg" aria-label="Account" title="Account">
            <IconUserCircle size={20} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>
            Signed in with {who?.key_name} ({who?.key_prefix}…)
          </Menu.Label>
          <Menu.Item leftSection={<IconKeyboard size={16} />} onClick={showKeys}>
            Keys
          </Menu.Item>
          <Menu.Item leftSection={<IconBook2 size={16} />} component="a" href="/docs" target="_blank">
            API documentation
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => void signOut()}>
            Sign out
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </>
  );
}
