//go:build planted

package partition

// Planted says which rule to break; zero breaks none.
type Planted struct{ Break Rule }

// Breaks reports whether the rule is to be broken.
func (p Planted) Breaks(r Rule) bool { return p.Break == r }
