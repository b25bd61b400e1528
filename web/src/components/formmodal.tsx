import { Button, Group, Modal, Stack } from "@mantine/core";
import type { FormEvent, ReactNode } from "react";
import { ProblemAlert } from "./states";

interface Props {
  title: string;
  onClose: () => void;
  onSubmit: (event: FormEvent<HTMLFormElement>) => void;
  /** A refused request: shown above the buttons, with everything that was typed still there. */
  error: unknown;
  busy: boolean;
  submit?: string;
  children: ReactNode;
}

/** A short form in a dialog. */
export function FormModal({ title, onClose, onSubmit, error, busy, submit = "Create", children }: Props) {
  return (
    <Modal opened onClose={onClose} title={title}>
      <form onSubmit={onSubmit} noValidate>
        <Stack>
          {children}
          {!!error && <ProblemAlert error={error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={busy}>
              {submit}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
