// Bellhop receives webhooks, keeps verified events until each is delivered, and notifies.
//
// `bellhop help` lists the commands; testdata/script shows each of them at work, and is executed.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	_ "time/tzdata" // conditions may name time zones, and the image has no files for them

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/app"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/catalog"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // what was asked for did not work out
	exitUsage = 2 // the command line is wrong
)

func main() {
	os.Exit(run(untilSignal(), catalog.All(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// untilSignal ends with the first signal, which asks the command to stop in order. The second ends the process at once:
// it finds no handler any more, and the context ends only when that is so.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel()
	}()
	return ctx
}

// errTold is returned by commands that have said on their own what is wrong.
var errTold = errors.New("told")

// program is what the commands share.
type program struct {
	catalog bellhop.Catalog
	// settings are those of the environment; flags are parsed into them. environment says what is wrong with
	// a variable, to the commands that want any.
	settings    app.Settings
	environment error
	// running is set once the command line is understood.
	running bool
}

// run executes a command line and returns the exit code. A test hands in a catalog of its own.
func run(ctx context.Context, c bellhop.Catalog, args []string, in io.Reader, out, errs io.Writer) int {
	p := &program{catalog: c}
	if s, err := app.FromEnvironment(); err != nil {
		p.environment = err
	} else {
		p.settings = *s
	}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case !p.running:
		cmd.PrintErrf("bellhop: %v\nTry: %s --help\n", err, cmd.CommandPath())
		return exitUsage
	case !errors.Is(err, errTold):
		cmd.PrintErrf("bellhop: %v\n", err)
	}
	return exitError
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "bellhop",
		Short: "Receives webhooks, keeps verified events until each is delivered, and notifies",
		// run prints errors.
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		p.serve(), p.check(), p.urls(), p.keygen(), p.send(), p.test(),
		p.events(), p.deliveries(), p.dead(), p.queue(), p.imports(), p.render(), p.version(),
	)
	p.mark(root)
	return root
}

// mark has the command and those below it say when they begin to run: what fails before is the command line.
// Cobra's own hooks come too early, before it has checked which flags go together.
func (p *program) mark(cmd *cobra.Command) {
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			p.running = true
			return do(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		p.mark(c)
	}
}
