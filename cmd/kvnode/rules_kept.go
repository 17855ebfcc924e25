//go:build !planted

package main

import "github.com/skshohagmiah/clusterkit/kvstore/planted"

// brokenRules returns none: only a build with the tag "planted" breaks any.
func brokenRules(func(string) string) (planted.Rules, error) { return planted.Rules{}, nil }
