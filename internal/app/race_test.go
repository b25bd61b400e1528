//go:build race

package app_test

// ordinarySeeds are fewer where the race detector makes each world cost ten times as much.
const ordinarySeeds = 12
