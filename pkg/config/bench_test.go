package config_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/config"
)

// BenchmarkLoad is a whole load: files, keys, Secrets, expressions, sources, providers and their clients.
func BenchmarkLoad(b *testing.B) {
	for _, size := range []struct{ endpoints, providers int }{{1, 1}, {1_000, 100}, {10_000, 1_000}} {
		b.Run(fmt.Sprintf("endpoints=%d/providers=%d", size.endpoints, size.providers), func(b *testing.B) {
			root := b.TempDir()
			var y strings.Builder
			y.WriteString("apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n")
			for i := range size.endpoints {
				fmt.Fprintf(&y, "- name: app-%d\n  source: github\n  keyPath: app-%d.key\n  events: [push, ping]\n  when: event.branch == \"main\"\n", i, i)
				write(b, filepath.Join(root, "secrets", fmt.Sprintf("app-%d.key", i)), fmt.Appendf(nil, "%064d", i))
			}
			y.WriteString("providers:\n")
			for i := range size.providers {
				fmt.Fprintf(&y, "- {name: team-%d, type: slack, channel: general, secretRef: {name: team-%d}, timeout: 15s}\n", i, i)
				write(b, filepath.Join(root, "secrets", fmt.Sprintf("team-%d", i), "address"), []byte("https://hooks.example/hush"))
			}
			y.WriteString("routes:\n")
			for i := range size.providers {
				fmt.Fprintf(&y, "- {name: route-%d, from: [app-%d, \"app-%d?\"], when: event.kind == \"git.push\", to: [team-%d]}\n", i, i, i, i)
			}
			write(b, filepath.Join(root, "config", "bellhop.yaml"), []byte(y.String()))
			l := config.Loader{Config: filepath.Join(root, "config"), Secrets: filepath.Join(root, "secrets"), Catalog: catalog}
			b.ReportAllocs()
			for b.Loop() {
				if s, ps := l.Load(); ps.Err() != nil || len(s.Endpoints) != size.endpoints {
					b.Fatal(ps.Fatal())
				}
			}
		})
	}
}
