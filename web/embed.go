// Package web owns the dashboard's built files and how they are served: caching, compression and the browser's security
// policy. The application itself is under src; it uses nothing but the public API, which internal/api owns.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed all:dist
var dist embed.FS

// Prefix is where the dashboard's pages live besides "/", so that they never collide with a path of the API:
// a deep link is /ui/deliveries/dlv_…
const Prefix = "/ui/"

// Policy is the Content-Security-Policy of every answer: no script but our own files, no foreign requests, no frames.
// Styles may be inline, because the component library sets colours and positions that way.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Handler serves the dashboard to GET and HEAD.
type Handler struct {
	fsys  fs.FS
	files map[string]file // by URL path
}

// file is one built file; names are those in the file system.
type file struct {
	name, zipped string
	mediaType    string
	immutable    bool
	// etag is made when it is first asked for: reading every file would keep all of them in an idle node's memory.
	etag func() string
}

// New is the handler for the embedded files; false when the binary was built without the dashboard (dist holds only
// .keep), so that the caller can say at "/" how to build it.
func New() (*Handler, bool) {
	built, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, false
	}
	return open(built)
}

func open(fsys fs.FS) (*Handler, bool) {
	h := &Handler{fsys: fsys, files: map[string]file{}}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || strings.HasSuffix(name, ".gz") {
			return err
		}
		h.files["/"+name] = describe(fsys, name)
		return nil
	})
	if _, ok := h.files["/index.html"]; err != nil || !ok {
		return nil, false
	}
	return h, true
}

func describe(fsys fs.FS, name string) file {
	f := file{name: name, mediaType: mediaType(name), immutable: strings.HasPrefix(name, "assets/")}
	f.etag = sync.OnceValue(func() string {
		content, _ := fs.ReadFile(fsys, name) // it was there a moment ago: the files are the binary's
		sum := sha256.Sum256(content)
		return base64.RawURLEncoding.EncodeToString(sum[:12])
	})
	if _, err := fs.Stat(fsys, name+".gz"); err == nil {
		f.zipped = name + ".gz"
	}
	return f
}

// mediaType does not ask the machine's tables, which differ.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	case ".webmanifest":
		return "application/manifest+json"
	case ".png":
		return "image/png"
	}
	return "application/octet-stream"
}

// Serves says whether a path is the dashboard's: "/", a built file, or a page under Prefix. A caller that shares the
// root with other routes asks it before handing a request over.
func (h *Handler) Serves(urlPath string) bool {
	if _, ok := h.files[urlPath]; ok {
		return true
	}
	return urlPath == "/" || strings.HasPrefix(urlPath, Prefix) || urlPath+"/" == Prefix
}

// ServeHTTP answers a built file with itself and any other path, as far as a browser asks for a page, with the
// application, whose router knows what to show.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "The dashboard's files can only be read.", http.StatusMethodNotAllowed)
		return
	}
	f, ok := h.files[r.URL.Path]
	if !ok {
		if !h.Serves(r.URL.Path) && !strings.Contains(r.Header.Get("Accept"), "text/html") {
			http.NotFound(w, r)
			return
		}
		f = h.files["/index.html"]
	}
	h.serve(w, r, f)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, f file) {
	name, etag := f.name, f.etag()
	header := w.Header()
	secure(header)
	if f.zipped != "" {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			name, etag = f.zipped, etag+"-gz"
			header.Set("Content-Encoding", "gzip")
		}
	}
	content, err := h.fsys.Open(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer content.Close()
	seeker, ok := content.(io.ReadSeeker)
	if !ok {
		http.NotFound(w, r)
		return
	}
	header.Set("Content-Type", f.mediaType)
	header.Set("ETag", `"`+etag+`"`)
	header.Set("Cache-Control", "no-cache")
	if f.immutable {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, seeker)
}

func secure(header http.Header) {
	header.Set("Content-Security-Policy", Policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110, section 12.5.3) as far as gzip is concerned.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(coding) != "gzip" && strings.TrimSpace(coding) != "*" {
			continue
		}
		weight = strings.TrimSpace(weight)
		return weight != "q=0" && strings.TrimRight(weight, "0") != "q=0."
	}
	return false
}
