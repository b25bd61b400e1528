// The component library's button and anchor as links of the router, which checks where they lead.
import { Anchor, type AnchorProps, Button, type ButtonProps } from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import type { AnchorHTMLAttributes, Ref } from "react";

type Native<P> = P & Omit<AnchorHTMLAttributes<HTMLAnchorElement>, keyof P> & { ref?: Ref<HTMLAnchorElement> };

export const ButtonLink = createLink((props: Native<ButtonProps>) => <Button component="a" {...props} />);

export const TextLink = createLink((props: Native<AnchorProps>) => <Anchor {...props} />);
