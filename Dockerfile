# syntax=docker/dockerfile:1

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH
ARG VERSION=dev COMMIT=unknown
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /out/bellhop ./cmd/bellhop
# A volume takes over the owner of the directory that it covers, so that a plain `docker run` can write its
# queue.
RUN mkdir -p /out/root/etc/bellhop/config /out/root/etc/bellhop/secrets /out/root/var/lib/bellhop

# Nothing but the program, the certificate authorities: no shell, no package manager.
FROM scratch
ARG VERSION=dev COMMIT=unknown
# For those who list what runs: the modules are in the program (go version -m). There is no base image to name, and
# when it was created the image says by itself.
# https://github.com/opencontainers/image-spec/blob/main/annotations.md
LABEL org.opencontainers.image.title="Bellhop" \
      org.opencontainers.image.description="Webhook receiver, durable queue and notifier for Kubernetes" \
      org.opencontainers.image.vendor="Bellhop" \
      org.opencontainers.image.authors="https://github.com/bellhop-dev" \
      org.opencontainers.image.url="https://github.com/bellhop-dev/bellhop" \
      org.opencontainers.image.documentation="https://github.com/bellhop-dev/bellhop/blob/main/README.md" \
      org.opencontainers.image.source="https://github.com/bellhop-dev/bellhop" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/root/ /
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /out/bellhop /bellhop
USER 65532:65532
VOLUME /var/lib/bellhop
# 8080: the receiver, for the internet. 9090: health, metrics, API and console, for the cluster.
EXPOSE 8080 9090
ENTRYPOINT ["/bellhop"]
CMD ["serve"]
