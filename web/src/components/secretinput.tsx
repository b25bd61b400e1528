import { PasswordInput, type PasswordInputProps } from "@mantine/core";

/** What the API gives instead of a secret; sent back, it leaves the secret as it is. */
export const mask = "••••••";

/** A secret that may be set already: left alone it stays, and typing replaces the whole. */
export function SecretInput({ description, ...props }: PasswordInputProps) {
  const kept = props.value === mask;
  return (
    <PasswordInput
      autoComplete="off"
      description={kept ? "Set, and never shown again; left alone it stays." : description}
      onFocus={(e) => kept && e.currentTarget.select()}
      visibilityToggleButtonProps={kept ? { disabled: true } : undefined}
      {...props}
    />
  );
}
