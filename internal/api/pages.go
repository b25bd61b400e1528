package api

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/posthorn/posthorn"
)

// docs is the docs page: our two small files and the reference they start (see docs/NOTICE.txt).
//
//go:embed docs
var docs embed.FS

// pagePolicy is the pages' content security policy: our own scripts, no inline ones, nothing foreign, no frames. The
// reference makes its styles in the page, which takes inline ones.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// servePages serves what people look at, the docs page and the dashboard, and what nothing else matches.
func (h *Handler) servePages(router *chi.Mux) {
	router.Get("/docs", serveDoc("index.html"))
	router.Get("/docs/", http.RedirectHandler("/docs", http.StatusPermanentRedirect).ServeHTTP)
	for _, name := range []string{"start.js", "reference.js"} {
		router.Get("/docs/"+name, serveDoc(name))
	}
	router.Head("/live", methodNotAllowed(router))
	if h.opts.Dashboard == nil {
		router.Get("/", noDashboard)
	} else {
		router.Get("/", h.opts.Dashboard.ServeHTTP)
	}
	router.NotFound(h.elsewhere)
	router.MethodNotAllowed(methodNotAllowed(router))
}

// elsewhere answers what no operation matches: a page or file of the dashboard, or a problem.
func (h *Handler) elsewhere(w http.ResponseWriter, r *http.Request) {
	if d, ok := h.opts.Dashboard.(interface{ Serves(path string) bool }); ok && d.Serves(r.URL.Path) {
		h.opts.Dashboard.ServeHTTP(w, r)
		return
	}
	writeProblem(w, newProblem(answers[posthorn.NotFound], "there is nothing at this path; the operations are listed at /docs"))
}

// methodNotAllowed names the methods a path does have.
func methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := newProblem(answerMethod, "this path does not know the method; see the Allow header")
		writeProblem(w, p.header("Allow", strings.Join(allowed(routes, r.URL.Path), ", ")))
	}
}

func allowed(routes chi.Routes, path string) []string {
	var list []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if !routes.Match(chi.NewRouteContext(), method, path) {
			continue
		}
		list = append(list, method)
		if method == http.MethodGet && path != "/live" {
			list = append(list, http.MethodHead)
		}
	}
	return list
}

// answerHead answers HEAD as GET, without the body, where nothing else is said.
func answerHead(router *chi.Mux) { router.Use(middleware.GetHead) }

func serveDoc(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", pagePolicy)
		// A new version of the binary may bring another one.
		header.Set("Cache-Control", "no-cache")
		header.Set("Content-Type", "text/html; charset=utf-8")
		if path.Ext(name) == ".js" {
			header.Set("Content-Type", "text/javascript; charset=utf-8")
		}
		if text, err := docs.ReadFile("docs/" + name); err == nil {
			_, _ = w.Write(text)
			return
		}
		zipped, err := docs.ReadFile("docs/" + name + ".gz")
		if err != nil {
			writeProblem(w, unexpected(err))
			return
		}
		serveZipped(w, r, zipped)
	}
}

// serveZipped sends a compressed file as it is to those who accept it so.
func serveZipped(w http.ResponseWriter, r *http.Request, zipped []byte) {
	w.Header().Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped)
		return
	}
	plain, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		writeProblem(w, unexpected(err))
		return
	}
	_, _ = io.Copy(w, plain)
}

const noDashboardPage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Posthorn</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em;border-radius:4px}</style></head>
<body>
<h1>Posthorn is running</h1>
<p>This binary was built without the dashboard. To get it, run <code>make build</code>, which builds it into the binary (it needs
Node.js), or use a released binary or image.</p>
<p>Everything else is here: the <a href="/docs">API documentation</a>, the <a href="/openapi.json">OpenAPI document</a> and
the <a href="/health">health</a> of this node.</p>
</body>
</html>
`

func noDashboard(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, noDashboardPage)
}
