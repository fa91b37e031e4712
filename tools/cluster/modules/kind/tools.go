//go:build tools

// Package tools names the programs, so that `go mod tidy` pins all they are made of.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kubeadm"
	_ "sigs.k8s.io/kind"
)
