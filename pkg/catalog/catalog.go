// Package catalog lists the plug-ins that the program knows: one line a plug-in. Everything that needs them
// is handed the list as a value, so that a test runs the whole program with others.
package catalog

import "github.com/bellhop-dev/bellhop/pkg/bellhop"

// All are all plug-ins.
func All() bellhop.Catalog { return bellhop.Catalog{Sources: Sources, Providers: Providers} }
