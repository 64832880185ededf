# Every target does its own set-up, from a fresh clone on. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
SOURCES := $(wildcard src tests bench docs packaging)
TOOLS := .venv/tools/.ready
# Where the pages of this version can be read, ending with a slash: make dist SITE=https://…/
SITE ?=
# More arguments for pytest: make test ARGS="tests/e2e -k undo"
ARGS ?=

# program:package, for what the tests and benchmarks run beside Python
PROGRAMS := docker-registry:docker-registry skopeo:skopeo curl:curl htpasswd:apache2-utils \
	jq:jq openssl:openssl strace:strace zstd:zstd redis-server:redis-server \
	wrk:wrk buildah:buildah podman:podman dockerd:docker.io ctr:containerd unshare:util-linux \
	/usr/sbin/nginx:nginx-light /usr/sbin/haproxy:haproxy

# program=module@version, what the tests run beside Debian's programs; built where Go is
PEERS := registry=github.com/distribution/distribution/v3/cmd/registry@v3.1.1 \
	crane=github.com/google/go-containerregistry/cmd/crane@v0.22.1 \
	versitygw=github.com/versity/versitygw/cmd/versitygw@v1.8.0

# What tests of charts/ and examples/ run; it takes minutes to build, so `make test` does not
CHARTS := helm=helm.sh/helm/v3/cmd/helm@v3.16.4 \
	kubeconform=github.com/yannh/kubeconform/cmd/kubeconform@v0.6.7 \
	caddy=github.com/caddyserver/caddy/v2/cmd/caddy@v2.8.4

# module@version:file, the schemas that manifests are checked against
SCHEMAS := k8s.io/kubernetes@v1.31.3:api/openapi-spec/swagger.json \
	github.com/prometheus-operator/prometheus-operator@v0.79.2:example/prometheus-operator-crd

# What bench/prune.py is measured beside; it has them built itself, where Go is
RIVALS := regctl=github.com/regclient/regclient/cmd/regctl@v0.11.7 \
	regbot=github.com/regclient/regclient/cmd/regbot@v0.11.7

# Microsoft's emulator of its store, for `make soak`; from npm, where that is
AZURITE := azurite@3.35.0

.PHONY: help setup system python peers azurite rivals charts demo test lint soak bench dist fix lock clean docs

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: system $(STAMP) peers ## Debian packages (as root), virtual environment, dependencies, peers

system: NEEDED = $(PROGRAMS)
python: NEEDED =
system python:
	@missing=(); \
	for pair in $(NEEDED); do \
		command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}"); \
	done; \
	command -v $(PYTHON) >/dev/null || missing+=(python3); \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv); \
	if [ "$${#missing[@]}" = 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "setup: not root on Debian, so not installed: $${missing[*]}" >&2; \
		echo "setup: please install them; tests that need them are skipped until then" >&2; \
		exit 0; \
	fi; \
	echo "setup: installing $${missing[*]}" >&2; \
	: "RUNLEVEL: so that the package of a daemon does not start it"; \
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	apt-get update -qq >&2; \
	apt-get install -y -qq --no-install-recommends "$${missing[@]}" >&2

$(STAMP): pyproject.toml requirements.txt hatch_build.py $(wildcard src/jettison/storage/filesystem/native.c)
	@command -v $(PYTHON) >/dev/null || \
		{ echo "setup: $(PYTHON) not found; Python 3.11 or newer is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "setup: Python 3.11 or newer is needed, this is $$($(PYTHON) -V);" \
			"choose another with make PYTHON=python3.x" >&2; exit 1; }
	@echo "setup: making .venv" >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@

# Go 1.24 and newer fetch the release of Go that a module asks for by themselves.
peers: $(STAMP)
	@for pair in $(PEERS); do \
		if [ -x ".venv/peers/$${pair%%=*}" ]; then continue; fi; \
		if ! go version 2>/dev/null | grep -Eq 'go1\.(2[4-9]|[3-9][0-9])'; then \
			echo "setup: no Go 1.24 or newer, so $${pair%%=*} is not built;" \
				"tests that need it are skipped" >&2; \
			continue; \
		fi; \
		echo "setup: building $${pair#*=}" >&2; \
		GOBIN="$$PWD/.venv/peers" go install "$${pair#*=}" || \
			echo "setup: $${pair%%=*} was not built; tests that need it are skipped" >&2; \
	done

azurite: $(STAMP)
	@if [ -x .venv/peers/azurite/node_modules/.bin/azurite-blob ]; then exit 0; fi; \
	if ! command -v npm >/dev/null; then \
		echo "setup: no npm, so $(AZURITE) is not installed; tests on it are skipped" >&2; \
		exit 0; \
	fi; \
	echo "setup: installing $(AZURITE)" >&2; \
	npm install --silent --no-audit --no-fund --prefix .venv/peers/azurite $(AZURITE) >&2 || \
		echo "setup: $(AZURITE) was not installed; tests on it are skipped" >&2

rivals: PEERS := $(RIVALS)
rivals: peers

charts: PEERS := $(CHARTS)
charts: peers ## helm, the schemas of Kubernetes and Caddy, for the tests of charts/ and examples/
	@mkdir -p .venv/peers/schemas; \
	for pair in $(SCHEMAS); do \
		if [ -e ".venv/peers/schemas/$${pair##*/}" ] || ! command -v go >/dev/null; then continue; fi; \
		echo "setup: fetching $${pair%%:*}" >&2; \
		folder=$$(cd / && go mod download -json "$${pair%%:*}" | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p'); \
		cp -r --no-preserve=mode "$$folder/$${pair#*:}" .venv/peers/schemas/ || \
			echo "setup: $${pair%%:*} was not to be had; tests that need it are skipped" >&2; \
	done

demo: python $(STAMP) ## The whole story on sample images; no other program is needed
	@$(BIN)/jettison demo

# Much of a test is waiting for a disk or a program, so more run at a time than two cores take.
test: setup lint ## Lint, then every test but the long ones
	@$(BIN)/pytest -n 4 --dist worksteal -m "not soak" $(ARGS)

lint: python $(STAMP) ## ruff (rules and format) and mypy
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy $(SOURCES)

soak: PROGRAMS += mmdebstrap:mmdebstrap ceph-mon:ceph-mon ceph-osd:ceph-osd radosgw:radosgw \
	ceph:ceph-common
# The whole life cycle again, with its storage in a bucket; not if ARGS names tests.
soak: BUCKETS = $(if $(findstring tests/,$(ARGS)),,tests/e2e)
soak: setup azurite charts $(TOOLS) ## The long tests, and those of tests/e2e on a bucket
	@failed=0; \
	$(BIN)/pytest -n 4 --dist worksteal -m soak --hypothesis-profile=soak $(ARGS) || failed=$$?; \
	if [ -n "$(BUCKETS)" ]; then \
		$(BIN)/pytest -n 4 --dist worksteal -m "not soak" --bucket $(BUCKETS) $(ARGS) || failed=$$?; \
	fi; \
	exit $$failed

bench: setup ## jettison gc and serve beside docker-registry; ARGS=--quick takes seconds
	@$(BIN)/python bench/gc.py $(ARGS)
	@$(BIN)/python bench/serve.py $(ARGS)
	@$(BIN)/python bench/requests.py $(ARGS)
	@$(BIN)/python bench/cli.py $(ARGS)
	@$(BIN)/python bench/prune.py $(ARGS)

# It is made of the files that git knows, with the time of the last commit: twice the same bytes.
dist: python $(STAMP) $(TOOLS) ## What is released, into dist/: wheels, one-file programs, Debian packages, images
	@PYTHONPATH=packaging:. $(BIN)/python -m release --site "$(SITE)"

$(TOOLS): $(STAMP) packaging/tools.txt
	@echo "setup: making .venv/tools" >&2
	@$(PYTHON) -m venv .venv/tools
	@.venv/tools/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r packaging/tools.txt
	@touch $@

fix: python $(STAMP) ## What ruff can put right by itself
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links --quiet
lock: python $(STAMP) ## Newest versions of all dependencies, for development, in packages, for make dist
	@$(LOCK) --upgrade pyproject.toml --extra dev -o requirements.txt
	@$(LOCK) --upgrade pyproject.toml --extra objects -c requirements.txt -o packaging/runtime.txt
	@$(LOCK) --upgrade packaging/tools.in -o packaging/tools.txt
	@! grep -n '://' requirements.txt packaging/*.txt || \
		{ echo "lock: requirements must name no host" >&2; exit 1; }

docs: python $(STAMP) ## docs/commands.md, docs/json.md, pictures from the demo and the code, and the site in build/site
	@$(BIN)/python docs/render_commands.py
	@$(BIN)/python -m docs.render_json
	@$(BIN)/python docs/picture.py
	@$(BIN)/python -m docs.architecture
	@$(BIN)/python docs/build_site.py

clean: ## Remove .venv and every cache
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
