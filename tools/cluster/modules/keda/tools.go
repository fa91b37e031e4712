//go:build tools

// Names KEDA's own programs, so that `go mod tidy` pins all they are made of.
package main

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)
