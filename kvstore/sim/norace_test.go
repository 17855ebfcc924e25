//go:build !race

package sim

// defaultSeeds is how many schedules a test run has.
const defaultSeeds = 1000
