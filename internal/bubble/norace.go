//go:build !race

package bubble

func oneProcessor() (leave func()) { return func() {} }
