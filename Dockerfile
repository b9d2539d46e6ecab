# The server's image: one static binary and nothing else.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v0.1.0 -t "$REGISTRY/privatelink-webhook:v0.1.0" --push .
#
# `make image` makes the same without Docker.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /privatelink-webhook ./cmd/privatelink-webhook

FROM scratch
COPY --from=build /privatelink-webhook /privatelink-webhook
USER 65532:65532
EXPOSE 9443 8080
ENTRYPOINT ["/privatelink-webhook"]
