//go:build !race

package simtest_test

// ordinarySeeds are how many worlds the ordinary suite simulates.
const ordinarySeeds = 60
