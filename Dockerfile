# The image holds one static binary with the dashboard inside, and nothing else: no shell, no package manager.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t posthorn .
#   docker run -p 8000:8000 -v posthorn:/data posthorn

FROM --platform=$BUILDPLATFORM node:22-bookworm-slim AS dashboard
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS binary
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
COPY --from=dashboard /src/web/dist web/dist
ARG TARGETOS TARGETARCH
# RENDER_GIT_COMMIT is what Render passes.
ARG VERSION RENDER_GIT_COMMIT
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=${VERSION:-${RENDER_GIT_COMMIT:-dev}}" -o /out/posthorn ./cmd/posthorn \
    && mkdir /out/data

FROM scratch
COPY --from=binary /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binary /usr/local/go/lib/time/zoneinfo.zip /zoneinfo.zip
COPY --from=binary --chown=65532:65532 /out/data /data
COPY --from=binary /out/posthorn /posthorn
# Only /data is written to, temporary files included, so the root file system may be read-only.
ENV HOST=0.0.0.0 PORT=8000 POSTHORN_DATA_DIR=/data TMPDIR=/data ZONEINFO=/zoneinfo.zip
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=20s --retries=3 CMD ["/posthorn", "health"]
ENTRYPOINT ["/posthorn"]
CMD ["serve"]
