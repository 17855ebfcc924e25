//go:build !planted

package partition

// Planted is empty: this build keeps every rule.
type Planted struct{}

// Breaks reports whether the rule is to be broken.
func (Planted) Breaks(Rule) bool { return false }
