//go:build !race

package app_test

// ordinarySeeds are how many worlds the ordinary suite simulates.
const ordinarySeeds = 60
