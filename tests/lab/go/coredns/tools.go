//go:build tools

// Package tools pins the DNS server that the lab builds.
package tools

import _ "github.com/coredns/coredns"
