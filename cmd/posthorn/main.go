// Command posthorn is the service and its tools. Flags and environment are read here and by internal/config; everything
// else is internal/app's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/posthorn/posthorn/internal/config"
)

// version is set by the build.
var version = "dev"

// commands are posthorn's subcommands; the settings are flags of all of them.
type commands struct {
	config.Settings

	Serve   serve     `cmd:"" help:"Run the service: API, worker and janitor, or some of them (--roles)."`
	Demo    demo      `cmd:"" help:"Run the service with sample receivers and show real deliveries."`
	Migrate migrate   `cmd:"" help:"Bring the store's schema up to date and exit."`
	Config  configure `cmd:"" help:"Print the effective settings, secrets masked."`
	Keys    keys      `cmd:"" help:"Create, list and revoke API keys in the store itself; with SQLite while the service is stopped (use /keys of its API otherwise)."`
	Cleanup cleanup   `cmd:"" help:"Remove what is older than the retention now."`
	Backup  backup    `cmd:"" help:"Copy the embedded store to a file, also while it is served."`
	Restore restore   `cmd:"" help:"Put a backup in the place of the embedded store."`
	Move    move      `cmd:"" help:"Take everything from the embedded store into an empty PostgreSQL."`
	Health  health    `cmd:"" help:"Ask a running node whether it is ready; exit 1 when it is not."`
	Doctor  checkup   `cmd:"" help:"Look at configuration, clock, database, Redis, DNS and egress, and say what to fix."`
	Bench   benchmark `cmd:"" help:"Measure a server: rates, latencies, losses and cost, also against no storage at all."`

	Trigger       trigger       `cmd:"" group:"api" help:"Publish an event."`
	Tail          tail          `cmd:"" group:"api" help:"Print deliveries and attempts as they happen."`
	Listen        listen        `cmd:"" group:"api" help:"Forward live events to a program on this machine, with no tunnel."`
	Events        events        `cmd:"" group:"api" help:"List and show events."`
	Deliveries    deliveries    `cmd:"" group:"api" help:"List, show, retry and cancel deliveries."`
	Replays       replays       `cmd:"" group:"api" help:"Deliver many events again: make, watch and cancel replays."`
	Subscriptions subscriptions `cmd:"" group:"api" help:"List, show, pause and resume subscriptions."`
	Apply         apply         `cmd:"" group:"api" help:"Make event types, sources and subscriptions what a file says."`
	Dump          dump          `cmd:"" group:"api" help:"Print event types, sources and subscriptions as a file for apply."`

	Completion completion   `cmd:"" help:"Print a script that completes commands and flags in bash, zsh or fish."`
	Complete   candidates   `cmd:"" name:"__complete" hidden:""`
	Version    printVersion `cmd:"" help:"Print the version."`

	VersionFlag kong.VersionFlag `name:"version" help:"Print the version."`
}

type printVersion struct{}

func (printVersion) Run() error {
	fmt.Println(version)
	return nil
}

// garbagePercent is how far the heap may grow before it is collected, in percent of what is alive: little is, next to what
// a busy node allocates in a second, so collecting seldom costs megabytes and saves a tenth of the processor. GOGC overrides it.
const garbagePercent = 300

// profiledBytes is how much is allocated between two samples of the heap's profile: the usual half MiB took a hundredth of a
// busy node's processor. GODEBUG's memprofilerate overrides it.
const profiledBytes = 4 << 20

func main() {
	if !strings.Contains(os.Getenv("GODEBUG"), "memprofilerate") {
		runtime.MemProfileRate = profiledBytes
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c commands
	parsed := kong.Parse(&c, kong.Name("posthorn"), kong.ShortUsageOnError(), kong.Vars{"version": version},
		kong.Description("Posthorn delivers webhooks: it stores events durably, signs them, delivers them and retries."),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&c.Settings), kong.Help(help),
		kong.ExplicitGroups([]kong.Group{{Key: groupAPI, Title: "Commands for a running server (POSTHORN_URL, POSTHORN_API_KEY):"}}))
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := parsed.Run(); err != nil {
		if !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "posthorn:", err)
		}
		os.Exit(1)
	}
}
