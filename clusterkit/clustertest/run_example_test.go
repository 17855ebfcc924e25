package clustertest_test

import "testing"

// The example would not be shown whole if this stood beside it.
func TestExample(t *testing.T) { testNoValueIsLost(t) }
