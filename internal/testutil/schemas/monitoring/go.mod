// The custom resource definitions of the Prometheus operator, which are files of its
// module. No package of it is built.
module github.com/castai/privatelink-webhook/internal/testutil/schemas/monitoring

go 1.26

require github.com/prometheus-operator/prometheus-operator v0.85.0
