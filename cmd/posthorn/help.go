package main

import "github.com/alecthomas/kong"

// groupAPI holds the commands that talk to a running server.
const groupAPI = "api"

// help leaves the node's settings out for commands that have no use for them.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	if selected := ctx.Selected(); selected != nil && ofAPI(selected) {
		for _, flag := range ctx.Model.Flags {
			flag.Hidden = flag.Name != "help"
		}
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

func ofAPI(n *kong.Node) bool {
	for ; n != nil; n = n.Parent {
		if n.Group != nil && n.Group.Key == groupAPI {
			return true
		}
	}
	return false
}
