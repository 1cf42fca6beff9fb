package main

import (
	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func (p *program) check() *cobra.Command {
	var form *format
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with the configuration and the secrets",
		Long: `Check reads configuration and secrets as serve does and prints every problem, one a line:

  file:line:column: path: what is wrong, and what to write instead

It reads files only: nothing is sent, opened or changed. Exit code 0: nothing is wrong, warnings at most;
1: the configuration would not be used.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			snapshot, problems, err := p.load(nil)
			if err != nil {
				return err
			}
			if *form == asJSON {
				if err := printJSON(cmd.OutOrStdout(), newReport(problems)); err != nil {
					return err
				}
			} else {
				for _, problem := range problems {
					cmd.Println(problem.String())
				}
			}
			wrong, doubtful := len(problems.Fatal()), len(problems.Warnings())
			if wrong > 0 {
				cmd.PrintErrf("bellhop: %s, %s\n", plural(wrong, "problem"), plural(doubtful, "warning"))
				return errTold
			}
			cmd.PrintErrf("bellhop: the configuration is good: %s, %s, %s, %s\n", plural(len(snapshot.Endpoints), "endpoint"),
				plural(len(snapshot.Providers), "provider"), plural(len(snapshot.Routes), "route"), plural(doubtful, "warning"))
			return nil
		},
	}
	p.configFlags(cmd)
	form = outputFlag(cmd, "text")
	return cmd
}

// report is what check prints as JSON.
type report struct {
	OK       bool            `json:"ok"`
	Problems []reportProblem `json:"problems"`
}

type reportProblem struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Path     string `json:"path,omitempty"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
}

func newReport(problems bellhop.Problems) report {
	r := report{OK: problems.Err() == nil, Problems: []reportProblem{}}
	for _, p := range problems {
		r.Problems = append(r.Problems, reportProblem{p.File, p.Line, p.Col, p.Path, p.Severity.String(), p.Message})
	}
	return r
}
