// Kinds of others that the chart makes objects of: their modules carry the CustomResourceDefinitions. Nothing is built.
module tidegate/tests/cluster/definitions

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
