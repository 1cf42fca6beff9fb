package main

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/spf13/cobra"
)

func (p *program) keygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "Print a new key: 32 random bytes in hex, without a line break",
		Long: `Keygen prints a new key for an endpoint: 32 random bytes in hex, without a line break, so that
the file and the sender's settings hold the same bytes.`,
		Example: "  bellhop keygen > app.key\n  kubectl create secret generic hooks --from-file=app.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var key [32]byte
			rand.Read(key[:]) // never fails
			_, err := cmd.OutOrStdout().Write([]byte(hex.EncodeToString(key[:])))
			return err
		},
	}
}
