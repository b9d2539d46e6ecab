// Module clients pins the libraries of other projects that the client of registries
// is compared with. It is a module of its own: what it requires must never decide a
// version in the product's go.mod.
module github.com/castai/privatelink-webhook/test/compat/clients

go 1.26.0

require (
	github.com/google/go-containerregistry v0.22.1
	github.com/regclient/regclient v0.11.7
)

require (
	github.com/docker/cli v29.7.2+incompatible // indirect
	github.com/docker/docker-credential-helpers v0.9.3 // indirect
	github.com/docker/libtrust v0.0.0-20160708172513-aabc10ec26b7 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
	github.com/sirupsen/logrus v1.10.2 // indirect
	github.com/ulikunitz/xz v0.5.17 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	gotest.tools/v3 v3.5.2 // indirect
)
