# make demo    sample checkpoints of both I3D streams, converted and compared; then the real network, on a real clip
# make test    the tests (with CI set: the slow ones too)
# make check   format, lint, types
# make bench   every figure in the README
# make docs    the documentation, as a site: open site/index.html
# make oldest  checks, with the oldest allowed packages, that code named by untrusted mappings does not run
# Each creates .venv first if it is missing.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := demo-output
# In a folder of its own, see tests/vision.py.
VISION := torchvision==0.28.0 timm==1.0.31

.PHONY: demo test check bench docs oldest format clean

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/tfpt sample --mapping i3d_rgb --out $(DEMO)/rgb/model.ckpt --seed 1
	$(BIN)/tfpt sample --mapping i3d_flow --out $(DEMO)/flow/model.ckpt --seed 2
	$(BIN)/tfpt convert --mapping i3d_rgb --checkpoint $(DEMO)/rgb \
	                    --mapping i3d_flow --checkpoint $(DEMO)/flow --out $(DEMO)/weights/
	$(BIN)/tfpt diff --mapping i3d_rgb $(DEMO)/rgb $(DEMO)/weights/i3d_rgb.safetensors
	$(BIN)/tfpt diff --mapping i3d_flow $(DEMO)/flow $(DEMO)/weights/i3d_flow.safetensors
	@$(BIN)/python demo/real_network.py $(DEMO)/real

# In the order of the files: the last ones are short, so that no worker is left with a long one.
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(if $(CI),,-m "not slow")

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/convert_i3d.py
	$(BIN)/python benchmarks/transpose.py
	$(BIN)/python benchmarks/inspect_names.py
	$(BIN)/python benchmarks/fidelity_i3d.py
	$(BIN)/python benchmarks/forward_i3d.py

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

oldest: $(VENV)/.installed-test
	$(BIN)/python tests/oldest/run.py

clean:
	rm -rf $(VENV) $(DEMO) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	rm -rf $(VENV)/vision
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/vision $(VISION)
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@
