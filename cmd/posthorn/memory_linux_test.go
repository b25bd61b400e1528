package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestGiveBack wants the program to run on with less of its own file in memory.
func TestGiveBack(t *testing.T) {
	before := mapped(t)
	giveBack()
	if after := mapped(t); after >= before {
		t.Errorf("%d kB of files in memory, and %d kB before", after, before)
	}
}

// mapped is how much of the files it maps this process has in memory, in kB.
func mapped(t *testing.T) int {
	t.Helper()
	status, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "RssFile:"); ok {
			n, err := strconv.Atoi(strings.Fields(text)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}

func TestPagesOf(t *testing.T) {
	for _, c := range []struct {
		line string
		size uintptr
	}{
		{"00400000-00c02000 r-xp 00000000 fe:00 1234                       /bin/posthorn", 0x802000},
		{"00c02000-01c02000 r--p 00802000 fe:00 1234                       /bin/posthorn", 0x1000000},
		{"01c02000-01d02000 rw-p 01802000 fe:00 1234                       /bin/posthorn", 0},
		{"7f0000000000-7f0000001000 r--p 00000000 fe:00 99                 /lib/other.so", 0},
		{"7f0000000000-7f0000001000 rw-p 00000000 00:00 0", 0},
		{"", 0},
	} {
		if from, to := pagesOf(c.line, "/bin/posthorn"); to-from != c.size {
			t.Errorf("%q: %d bytes, want %d", c.line, to-from, c.size)
		}
	}
}
