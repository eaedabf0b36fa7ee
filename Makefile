# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
LAYER ?= block1_conv1
IMAGE ?=

.PHONY: demo test test-slow lint bench clean

demo: .venv/installed
	.venv/bin/python examples/demo.py --layer "$(LAYER)" $(if $(IMAGE),"$(IMAGE)")

test: .venv-test/installed
	.venv-test/bin/python -m pytest $(ARGS)

# The whole of the matrices of which the default suite runs a slice.
test-slow: .venv-test/installed
	.venv-test/bin/python -m pytest -m slow $(ARGS)

lint: .venv-test/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/pyright --pythonpath .venv-test/bin/python

bench: .venv-test/installed
	.venv-test/bin/python benchmarks/end_to_end.py $(ARGS)

clean:
	rm -rf .venv .venv-test

# What runs needs: no TensorFlow in it.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --editable ".[cpu]"
	touch $@

# What the tests need: Keras to compare with, a browser's driver, the linters.
.venv-test/installed: pyproject.toml
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/pip install --quiet --disable-pip-version-check --editable ".[cpu,openvino,litert,ncnn,export,dev]"
	touch $@
