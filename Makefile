# For a fresh machine: `make demo` and `make test`; while working: `make check`. PYTHON names a Python 3.9 to 3.12.
PYTHON ?= python3
VENV := .venv
VENV26 := .venv-paddle26
VENV_DOCS := .venv-docs
DEMO := demo_output
FRAMES := tests/data/camvid_mini
DEMO_CONFIG := configs/rtformer/rtformer_slim_camvid_demo.yml
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: demo test lint docs clean

demo: $(VENV)/ready
	rm -rf $(DEMO)
	$(VENV)/bin/python -m paddle_rtseg.infer --model rtformer_slim_camvid --input $(FRAMES)/images --save_dir $(DEMO)/result
	$(VENV)/bin/python -m paddle_rtseg.compare --images $(FRAMES)/images --labels $(FRAMES)/labels --masks $(DEMO)/result/masks --save $(DEMO)/side_by_side.png
	$(VENV)/bin/python -m paddleseg.train --config $(DEMO_CONFIG) --seed 1 --save_dir $(DEMO)/training --save_interval 1000
	$(VENV)/bin/python -m paddleseg.val --config $(DEMO_CONFIG) --model_path $(DEMO)/training/iter_120/model.pdparams
	$(VENV)/bin/python -m paddleseg.export --config $(DEMO_CONFIG) --model_path $(DEMO)/training/iter_120/model.pdparams --save_dir $(DEMO)/model
	$(VENV)/bin/python -m paddle_rtseg.infer --model $(DEMO)/model --input $(FRAMES)/images --save_dir $(DEMO)/own_result
	@echo "Look at $(DEMO)/side_by_side.png: image, label and prediction of each frame, by the bundled weights. The model"
	@echo "trained just now, for two minutes, is in $(DEMO)/model, and its predictions are in $(DEMO)/own_result."

test: lint $(VENV26)/ready
	$(VENV)/bin/python -m pytest -rs --durations=15
	$(VENV26)/bin/pytest -rs --durations=15 -m "not slow_on_old_paddle"

# What to run after every change: about two minutes once installed.
.PHONY: check
check: lint
	$(VENV)/bin/python -m pytest --durations=15 -m "not slow"

# Hostile and damaged files, images and command lines, made up from SEED; the tests run a small part of them.
SEED ?= 0
.PHONY: fuzz
fuzz: $(VENV)/ready
	$(VENV)/bin/python tests/helpers/fuzz.py $(SEED)

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python .ci/words.py
	$(VENV)/bin/mypy

# The main environment links to this folder, the Paddle 2.6.2 one holds an ordinary install, so both forms are tested.
# The build folder goes first: setuptools would put modules into the wheel that have been moved or deleted since.
$(VENV)/ready: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install $(PIP_FLAGS) --editable ".[cpu,dev]"
	touch $@

$(VENV26)/ready: setup.py pyproject.toml $(shell find paddle_rtseg deploy/python configs -name '*.py' -o -name '*.yml')
	rm -rf build
	$(PYTHON) -m venv $(VENV26)
	$(VENV26)/bin/pip install $(PIP_FLAGS) --upgrade ".[cpu,dev]" "paddlepaddle==2.6.2"
	touch $@

# The pages of docs/ as a site in site/. Broken links and pages that are missing from the index are errors.
docs: $(VENV_DOCS)/ready
	NO_MKDOCS_2_WARNING=1 $(VENV_DOCS)/bin/mkdocs build --strict

$(VENV_DOCS)/ready: docs/requirements.txt
	$(PYTHON) -m venv $(VENV_DOCS)
	$(VENV_DOCS)/bin/pip install $(PIP_FLAGS) --requirement docs/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) $(VENV26) $(VENV_DOCS) $(DEMO) build site *.egg-info
