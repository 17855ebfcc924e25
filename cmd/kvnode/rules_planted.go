//go:build planted

package main

import (
	"fmt"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// brokenRules returns the rule that the environment has this node break.
func brokenRules(getenv func(string) string) (planted.Rules, error) {
	name := getenv("BREAK_RULE")
	if name == "" {
		return planted.Rules{}, nil
	}
	rule, ok := planted.Named(name)
	if !ok {
		return planted.Rules{}, fmt.Errorf("BREAK_RULE: %q is no rule that a node can break", name)
	}
	return planted.Rules{Break: rule}, nil
}
