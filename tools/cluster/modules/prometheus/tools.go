//go:build tools

// Package tools names the programs, so that `go mod tidy` pins all they are made of.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
