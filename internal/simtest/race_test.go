//go:build race

package simtest_test

// ordinarySeeds are fewer where the race detector makes each world cost ten times as much.
const ordinarySeeds = 12
