package app_test

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

// tidyTests closes the connections that tests kept alive, which are no leaks.
type tidyTests struct{ *testing.M }

func (t tidyTests) Run() int {
	code := t.M.Run()
	http.DefaultClient.CloseIdleConnections()
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(tidyTests{m}) }
