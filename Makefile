# Everything here does its own set-up: a fresh machine needs Python 3.11 or newer with venv, make and git.
PYTHON ?= python3
PROVIDER ?= simulated
# how many random calls `make prove` makes; all of them have to leave nothing behind
PROVE_CALLS ?= 1000000
PROGRAMS ?= etcd kube-apiserver kubectl kube-controller-manager helm apiextensions-apiserver
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := policy runtime operator sidecar cli tests bench images

# Four workers read the bytecode of the tests: without it each would compile all of them again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test prove check format crds rbac chart bench bench-peers bench-control-plane bench-admission bench-bodies cluster cluster-down clean \
  images image-locks kubernetes node-up node-down kind-up test-e2e

##@ Use
run: $(READY) ## Run the main job: examples/quickstart with a simulated provider. PROVIDER=openai|anthropic: the real one
	@exec $(BIN)/tidegate demo $(if $(filter-out simulated,$(PROVIDER)),--provider $(PROVIDER)) $(ARGS)

##@ Develop
test: kubernetes ## Run the tests. ARGS="-k limit -x" is given to pytest
	$(BIN)/pytest --numprocesses=4 --dist=loadfile $(ARGS)

prove: kubernetes ## Fuzz the parsers for a minute, endure a million random calls, run the faults at full length
	PYTHONPATH=tests/fuzzing:tests/downstream:tests/support $(BIN)/python -m tidegate_fuzzing --seconds=60
	PYTHONPATH=tests/support:tests/enduring:tests/registering $(BIN)/python -m tidegate_enduring --calls=$(PROVE_CALLS) --processes=2
	TIDEGATE_FULL_LENGTH=1 $(BIN)/pytest --numprocesses=4 --dist=load $(ARGS) tests/operating

check: $(READY) ## Format, lint, types, import contracts, generated files unchanged
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tidegate_operator.api.generate --check crds
	$(BIN)/python -m tidegate_operator.api.generate --check charts/tidegate-crds/files
	$(BIN)/python -m tidegate_operator.cluster.rights --check deploy/rbac
	$(BIN)/python -m tidegate_operator.chart --check charts/tidegate/files
	PYTHONPATH=tests/support $(BIN)/python -m tidegate_chart_readme --check charts/tidegate

kubernetes: $(READY) ## Build what the tests need of Kubernetes, once for this user, in about ten minutes
	@cd tests/cluster && exec ../../$(BIN)/python -m tidegate_cluster build $(PROGRAMS) >/dev/null

format: $(READY) ## Format, and mend what the linter can mend
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

crds: $(READY) ## Write crds/ and the charts' copies from the API models
	$(BIN)/python -m tidegate_operator.api.generate crds
	$(BIN)/python -m tidegate_operator.api.generate charts/tidegate-crds/files
	$(BIN)/python -m tidegate_operator.chart charts/tidegate/files

rbac: $(READY) ## Write deploy/rbac and the chart's copy from the table of rights
	$(BIN)/python -m tidegate_operator.cluster.rights deploy/rbac
	$(BIN)/python -m tidegate_operator.chart charts/tidegate/files

chart: $(READY) ## Write what the chart takes from code (definitions, rights, the webhook configuration), and its README from its values
	$(BIN)/python -m tidegate_operator.chart charts/tidegate/files
	PYTHONPATH=tests/support $(BIN)/python -m tidegate_chart_readme charts/tidegate

bench: $(READY) ## Measure what a call costs, beside Envoy and a bare aiohttp proxy: about five minutes; needs wrk. ARGS=--help tells more
	PYTHONPATH=bench $(BIN)/python -m speed $(ARGS)

bench-peers: $(READY) ## The same with LiteLLM and Portkey, installed for that run alone; needs npm
	PYTHONPATH=bench $(BIN)/python -m speed --peers $(ARGS)

bench-control-plane: $(READY) ## Measure compile, delivery and idle polls against a real API server; prints tables
	$(BIN)/python bench/compile.py
	PYTHONPATH=tests/cluster:tests/support $(BIN)/python bench/config_polls.py
	PYTHONPATH=tests/cluster:tests/support $(BIN)/python bench/control_plane.py

bench-admission: $(READY) ## Measure what admitting a pod costs: reviews over TLS at a fixed rate; fails above its bar
	$(BIN)/python bench/admission.py $(ARGS)

bench-bodies: $(READY) ## Measure the memory that large bodies take, many at once; fails above the sidecar's limit
	PYTHONPATH=tests/cluster:tests/support $(BIN)/python bench/bodies.py $(ARGS)

cluster: $(READY) ## Start a real Kubernetes API server on loopback, for a person; Ctrl-C ends it
	@cd tests/cluster && exec ../../$(BIN)/python -m tidegate_cluster up $(ARGS)

cluster-down: $(READY) ## End one that was left behind
	@cd tests/cluster && exec ../../$(BIN)/python -m tidegate_cluster down

##@ With real pods
images: $(READY) ## Build the container images into build/images; needs root and buildah, no Docker. ARGS=sidecar: one
	PYTHONPATH=images $(BIN)/python -m tidegate_images build $(ARGS)

image-locks: $(READY) ## Write the images' lock files from pyproject.toml. ARGS=--upgrade: newest versions
	PYTHONPATH=images $(BIN)/python -m tidegate_images locks $(ARGS)

node-up: $(READY) ## Start a one-node Kubernetes with build/images loaded; needs root, no Docker. Ctrl-C ends it
	@cd tests/cluster && exec ../../$(BIN)/python -m tidegate_node up $(wildcard $(CURDIR)/build/images/*.tar) $(ARGS)

node-down: $(READY) ## End it, or take away what a killed one left
	@cd tests/cluster && exec ../../$(BIN)/python -m tidegate_node down

kind-up: $(READY) ## The same on kind, for people with Docker: builds, makes the cluster, loads the images
	PYTHONPATH=images $(BIN)/python -m tidegate_images kind

test-e2e: $(READY) ## Install and use everything on a cluster: KUBECONFIG's, which has the images, else on a node of its own (root)
ifndef KUBECONFIG
	$(MAKE) images ARGS=
endif
	$(BIN)/pytest tests/e2e $(ARGS)

clean: ## Remove what the targets above made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); Tidegate needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
