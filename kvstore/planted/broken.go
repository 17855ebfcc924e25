//go:build planted

package planted

// Rules says which rule to break; zero breaks none.
type Rules struct{ Break Rule }

// Breaks reports whether the rule is to be broken.
func (p Rules) Breaks(r Rule) bool { return p.Break == r }
