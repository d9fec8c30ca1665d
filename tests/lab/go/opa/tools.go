//go:build tools

// Package tools pins the policy server that the bench compares with.
package tools

import _ "github.com/open-policy-agent/opa"
