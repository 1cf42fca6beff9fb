package main

import (
	"log/slog"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/app"
)

func (p *program) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive and notify, until SIGTERM or SIGINT",
		Long: `Serve runs the receiver and the notifier in one process.

Each flag is also a variable of the environment; the flag wins. Everything else is in the configuration
files, and takes effect without a restart. The first SIGTERM or SIGINT stops in order, the second at once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.environment != nil {
				return p.environment
			}
			logger := p.logger(cmd)
			// Nine tenths of the container's memory, unless GOMEMLIMIT is set: the garbage collector works harder before
			// the kernel ends the process. The rest is for what Go does not count.
			if _, err := memlimit.SetGoMemLimitWithOpts(); err != nil {
				logger.Debug("setting the garbage collector's memory limit", "error", err)
			}
			return app.Run(cmd.Context(), &p.settings, app.Options{
				Catalog: p.catalog,
				Logger:  logger,
				Version: buildVersion().String(),
			})
		},
	}
	p.settingFlags(cmd)
	return cmd
}

// logger writes to standard error: standard output is for what was asked for.
func (p *program) logger(cmd *cobra.Command) *slog.Logger {
	options := &slog.HandlerOptions{Level: p.settings.LogLevel}
	if p.settings.LogFormat == app.LogText {
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), options))
	}
	return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), options))
}
