//go:build !planted

package planted

// Rules is empty: this build keeps every rule, and has no place to say
// otherwise.
type Rules struct{}

// Breaks reports whether the rule is to be broken.
func (Rules) Breaks(Rule) bool { return false }
