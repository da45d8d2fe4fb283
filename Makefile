# Everything sets itself up: Python 3.11 or newer and make are enough. `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: python-is-new-enough help serve test train check format bench bench-training bench-page screenshots image image-training image-test browser-test rules monitoring-test soak walk lock audit clean

PYTHON ?= python3
IMAGE ?= seqserve
SBOM ?= dist/sbom.cdx.json
VERSION = $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' service/version.py)
IMAGE_ARGS = --build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse --short HEAD 2>/dev/null)

# Two environments: what serves holds no torch, and developing must not change what serves.
# make serve LOCK=requirements-cuda.lock serves from an environment with onnxruntime-gpu.
LOCK ?= requirements.lock
SERVE := .venv-serve$(LOCK:requirements%.lock=%)
DEV := .venv
AUDIT := .venv-audit
RULE := deploy/monitoring/prometheusrule.yaml
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

define BUILD
if docker info >/dev/null 2>&1; then docker build $(IMAGE_ARGS) .; \
elif command -v podman >/dev/null; then podman build --format docker $(IMAGE_ARGS) .; \
else buildah build --format docker $(IMAGE_ARGS) .; fi
endef

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(SERVE)/installed ## start the service on 127.0.0.1:8000 (settings: SEQSERVE_* in the environment)
	exec $(SERVE)/bin/python -m service

test: $(DEV)/installed ## run the whole test suite
	$(DEV)/bin/python -m pytest $(ARGS)

train: $(DEV)/installed ## train and publish the starter models (ARGS="--preset NAME --data PATH" for yours)
	$(DEV)/bin/python -m training.run $(ARGS)

check: $(DEV)/installed ## format, lint, types, direction of imports
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

format: $(DEV)/installed ## put the code in the house format
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

bench: $(DEV)/installed ## measure the service beside the bare onnxruntime loop, in one run
	$(DEV)/bin/python -m tests.bench.run $(ARGS)

bench-training: $(DEV)/installed ## measure the training loop beside PyTorch's language model example, in one run
	$(DEV)/bin/python -m tests.bench.training $(ARGS)

bench-page: $(DEV)/installed ## measure in a browser how long the page at / takes from a key press to its suggestions
	$(DEV)/bin/python -m tests.browser.speed $(ARGS)

screenshots: $(DEV)/installed ## take docs/screenshots/ anew
	$(DEV)/bin/python -m tests.browser.screenshots

# The plain names are those of requirements.lock; with another lock it is seqserve:latest-cuda and seqserve:VERSION-cuda.
FLAVOUR = $(LOCK:requirements%.lock=%)
image: IMAGE_ARGS += -t $(IMAGE):latest$(FLAVOUR) -t $(IMAGE):$(VERSION)$(FLAVOUR) --build-arg LOCK=$(LOCK)
image: ## build the image that serves with docker, podman or buildah
	$(BUILD)

image-training: IMAGE_ARGS += -t $(IMAGE)-training -t $(IMAGE)-training:$(VERSION) -f Dockerfile.training
image-training: ## build the image that trains, several GB of it CUDA, as deploy/training runs it
	$(BUILD)

audit: $(AUDIT)/installed .venv-checkov/installed $(SERVE)/installed ## lint images, code and manifests, look for known vulnerabilities, list what is served (SBOM)
	@mkdir -p $(dir $(SBOM))
	$(AUDIT)/bin/python -m tests.audit.run --environment $(SERVE) --sbom $(SBOM)

# Its first test builds the image, at first on a base image that it may have to make.
image-test: $(DEV)/installed ## build the image and prove in containers what it promises (needs root on Linux, and says what else)
	$(DEV)/bin/python -m pytest --timeout=900 tests/container $(ARGS)

browser-test: $(DEV)/installed ## the page at / in a real browser (apt-get install chromium fonts-nanum)
	$(DEV)/bin/python -m pytest tests/browser $(ARGS)

rules: ## write the Prometheus operator's object anew from deploy/monitoring/rules.yaml
	{ sed '/^spec:$$/q' $(RULE); sed 's/^\(.\)/  \1/' deploy/monitoring/rules.yaml; } > $(RULE).new
	mv $(RULE).new $(RULE)

soak: $(DEV)/installed ## load and faults on the real service: 80 % and 300 %, swaps, kills, bad disks, slow clients (ARGS="--minutes 1")
	$(DEV)/bin/python -m tests.soak.run $(ARGS)

walk: $(DEV)/installed ## type the README into a fresh clone, as it stands (port 8000, minutes)
	$(DEV)/bin/python -m pytest --timeout=1800 tests/walk/walk_readme.py $(ARGS)

monitoring-test: $(DEV)/installed ## alert rules and dashboard against a real Prometheus (apt-get install prometheus)
	$(DEV)/bin/python -m pytest -o python_files="test_*.py check_*.py" tests/monitoring $(ARGS)

lock: $(UV) ## write the lock files anew from pyproject.toml
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 $(UPGRADE) pyproject.toml -o requirements.lock
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 $(UPGRADE) --extra training --extra tracing --group dev pyproject.toml -o requirements-dev.lock
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 $(UPGRADE) --extra training -c requirements-dev.lock pyproject.toml -o requirements-training.lock
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 $(UPGRADE) --extra tracing -c requirements-dev.lock pyproject.toml -o requirements-tracing.lock
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 $(UPGRADE) --extra cuda --overrides requirements-cuda.in pyproject.toml -o requirements-cuda.lock
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 $(UPGRADE) --group audit -o requirements-audit.lock
	$(UV) pip compile -q --universal --generate-hashes --python-version 3.11 $(UPGRADE) --group checkov -o requirements-checkov.lock

clean: ## remove the environments and caches
	rm -rf .venv-serve* $(DEV) $(AUDIT) .venv-checkov .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(SERVE)/installed: $(LOCK) | python-is-new-enough $(UV)
	$(UV) venv -q --clear --python $(PYTHON) $(SERVE)
	$(UV) pip sync -q --compile-bytecode --require-hashes --python $(SERVE)/bin/python $(LOCK)
	touch $@

$(DEV)/installed: requirements-dev.lock | python-is-new-enough $(UV)
	$(UV) venv -q --clear --python $(PYTHON) $(DEV)
	$(UV) pip sync -q --compile-bytecode --require-hashes --python $(DEV)/bin/python requirements-dev.lock
	touch $@

$(AUDIT)/installed .venv-checkov/installed: .venv-%/installed: requirements-%.lock | python-is-new-enough $(UV)
	$(UV) venv -q --clear --python $(PYTHON) $(@D)
	$(UV) pip sync -q --compile-bytecode --require-hashes --python $(@D)/bin/python $<
	touch $@

# uv, where the machine has none: in a folder of its own, so that no system Python is changed.
.tools/bin/uv: | python-is-new-enough
	$(PYTHON) -m venv .tools 2>/dev/null && .tools/bin/python -m pip install -q uv || $(PYTHON) -m pip install -q --target .tools uv

python-is-new-enough:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; set PYTHON=python3.11 or newer" >&2; exit 1; }
