//go:build race

package sim

// defaultSeeds is how many schedules a test run has; the race detector makes
// each cost ten times as much, and finds nothing in code that shares nothing.
const defaultSeeds = 50
