# The images of the server and of the command: one static binary each.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v0.2.0 -t "$REGISTRY/privatelink-webhook:v0.2.0" --push .
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v0.2.0 --target privatelink -t "$REGISTRY/privatelink:v0.2.0" --push .
#
# `make image` makes the same without Docker.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .

FROM source AS build-privatelink
RUN make webhook-image && mkdir /work /tmp/empty
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -tags webhookimage -ldflags "-s -w -X main.version=$VERSION" -o /privatelink ./cmd/privatelink

FROM scratch AS privatelink
COPY --from=build-privatelink /privatelink /privatelink
COPY --from=build-privatelink --chown=65532:65532 /work /work
COPY --from=build-privatelink --chown=65532:65532 /tmp/empty /tmp
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/privatelink"]

FROM source AS build-privatelink-webhook
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /privatelink-webhook ./cmd/privatelink-webhook

FROM scratch AS privatelink-webhook
COPY --from=build-privatelink-webhook /privatelink-webhook /privatelink-webhook
USER 65532:65532
EXPOSE 9443 8080
ENTRYPOINT ["/privatelink-webhook"]
