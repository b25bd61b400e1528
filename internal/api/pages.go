package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

// servePages serves what people look at: the docs page, and the dashboard or a word on how to get it.
func (h *Handler) servePages(router *chi.Mux) {
	router.NotFound(notFound)
	router.MethodNotAllowed(methodNotAllowed(router))
	if h.opts.Dashboard == nil {
		router.Get("/", noDashboard)
	} else {
		router.Get("/", h.opts.Dashboard.ServeHTTP)
	}
}

func noDashboard(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!doctype html>"))
}
