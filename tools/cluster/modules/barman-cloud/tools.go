//go:build tools

// Package tools names the program, so that `go mod tidy` pins all it is made of.
package tools

import _ "github.com/cloudnative-pg/plugin-barman-cloud/cmd/manager"
