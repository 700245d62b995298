# On a fresh machine with Python 3.11 or newer, start with `make demo` or `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
RUN = $(BIN)/python -m ctsm_lib
DEMO ?= runs/demo

.PHONY: help demo test lint data train figures bench notebooks lab app book soak constraints lock verified audit clean

help:  ## List all commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

# One stamp file for each set of extras, so that nothing is installed again until pyproject.toml or
# constraints.txt changes.
$(VENV)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.notebooks: $(VENV)/.base
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[notebooks]'
	@touch $@

demo: $(VENV)/.base  ## Train, score and answer on the embedded sample; analyse words; draw Figure 3
	@env -u CTSM_DATA PYTHON=$(BIN)/python DEMO=$(DEMO) sh scripts/demo.sh

test: $(VENV)/.dev  ## Check style and types, and run all tests
	$(BIN)/ruff check ctsm_lib ctsm_workbench tests notebooks scripts
	$(BIN)/ruff format --check ctsm_lib ctsm_workbench tests notebooks scripts
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev  ## Fix what ruff can fix, and check types
	$(BIN)/ruff check --fix ctsm_lib ctsm_workbench tests notebooks scripts
	$(BIN)/ruff format ctsm_lib ctsm_workbench tests notebooks scripts
	$(BIN)/mypy

data: $(VENV)/.base  ## Download the real data (1.7 GB on disk)
	$(RUN) data fetch

train: $(VENV)/.base  ## Train preset `improved` on the real data (not the model of the paper)
	$(RUN) train --preset improved --out runs/improved

figures: $(VENV)/.base  ## Draw all figures that need no trained model
	$(RUN) figures --out figures

bench: $(VENV)/.base  ## Measure speed, and compare it with the limit of this machine
	$(RUN) bench --out figures/results

lab: $(VENV)/.notebooks  ## Open the lessons in JupyterLab
	cd notebooks && ../$(BIN)/jupyter lab 00_start_here.ipynb

app: $(VENV)/.notebooks  ## Open the explorers as a page without code, only on this computer
	$(RUN) explore

notebooks: $(VENV)/.notebooks  ## Build the lessons from notebooks/src, and run them on the sample
	$(BIN)/python notebooks/build.py

book: $(VENV)/.notebooks  ## Make an offline web book of the solved lessons
	$(BIN)/python notebooks/book.py

soak: $(VENV)/.dev  ## Test many faults many times, and write a table (slow; ONLY=name for one test)
	-$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[soak]'
	$(if $(ONLY),,rm -f figures/results/soak.json)
	CTSM_SOAK=1 CTSM_SOAK_JSON=figures/results/soak.json $(BIN)/python -m pytest -m survival $(if $(ONLY),-k $(ONLY))
	$(BIN)/python tests/soak.py figures/results/soak.json

constraints: $(VENV)/.dev  ## Write the installed versions to constraints.txt
	@{ head -n 1 constraints.txt; $(BIN)/python -m pip list --format=freeze --exclude-editable --exclude pip --exclude setuptools | sed 's/+cpu//'; } > .constraints && mv .constraints constraints.txt

lock: $(VENV)/.base  ## Write requirements.lock: the same versions with checksums, for all systems
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	head -n 1 requirements.lock > .lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11.7 --generate-hashes --no-header -c constraints.txt --extra dev --extra soak pyproject.toml >> .lock
	mv .lock requirements.lock

verified:  ## Set up .venv-verified, where every file must match its checksum in requirements.lock
	$(PYTHON) -m venv .venv-verified
	.venv-verified/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-verified/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .

audit:  ## Compare all locked versions with public security advisories (needs the internet)
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install -q --disable-pip-version-check pip-audit
	.venv-audit/bin/pip-audit -r requirements.lock --disable-pip --require-hashes

clean:  ## Delete environments and caches (not runs/ and not data/raw)
	rm -rf $(VENV) data/cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
