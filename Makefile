# Two commands do everything: `make repro` runs the experiment, `make test` proves the code.  `make help` lists the rest.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := torch==2.13.0
# Another package index for torch alone, for example one that has CPU or CUDA builds: make TORCH_INDEX=https://... setup
TORCH_INDEX ?=
EXTRAS ?= dev,scale

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help setup repro test test-slow guardrails lint types check bench miniature miniature-check rebaseline screenshots clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(READY)  ## make .venv from the pinned constraints

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or say make PYTHON=..."; exit 2; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "setup: installing the pinned packages (a few minutes the first time)"
	@$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@# insightface asks for the CPU's onnxruntime, and both write into one folder: the GPU's comes last, alone
	@case ",$(EXTRAS)," in *,gpu,*) $(BIN)/pip uninstall --quiet --yes onnxruntime onnxruntime-gpu && \
	  $(BIN)/pip install --quiet --no-deps --constraint constraints.txt onnxruntime-gpu;; esac
	@$(BIN)/python -c "import cv2" 2>/dev/null || { $(BIN)/python -c "import cv2" 2>&1 | tail -n 1; \
	  echo "error: OpenCV misses a system library; on Debian and Ubuntu: apt-get install libgl1 libglib2.0-0 libxcb1"; exit 2; }
	@touch $@

repro: $(READY) check  ## run the pipeline: photos -> LoRA -> sweep -> scorecard -> comparison
	@$(BIN)/dvc repro
	@$(BIN)/pistachio where

check: $(READY)  ## validate params.yaml, every folder that it names and every photo, before DVC deletes anything
	@$(BIN)/pistachio check

test: $(READY)  ## run the fast tests
	@$(BIN)/pytest -n 2 --dist loadfile -q

test-slow: $(READY)  ## run the slow tests
	@$(BIN)/pytest -q -rs -m slow

guardrails: $(READY)  ## what went wrong once and must not again; part of test
	@$(BIN)/pytest -q -m guardrails

lint: $(READY)  ## style and layout
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY)  ## static types
	@$(BIN)/mypy

bench: $(READY)  ## ours against the peers, side by side (an hour; NAME=manifest for one); docs/speed.md
	@$(BIN)/python -m bench $(or $(NAME),all)

miniature: $(READY)  ## train the miniature's models anew (hours; resumable; PART=base for one)
	@$(BIN)/python -m miniature train $(PART)

miniature-check: $(READY)  ## recompute miniature/metrics.json from the committed weights
	@$(BIN)/python -m miniature check

rebaseline: $(READY)  ## run v2 and v3 of the persona anew and record both: make rebaseline WHY="one sentence"
	@test -n "$(WHY)" || { echo 'error: say why: make rebaseline WHY="one sentence"'; exit 2; }
	@$(BIN)/python -m miniature.rebaseline "$(WHY)"

screenshots: $(READY)  ## photograph metrics/report.html and the review for docs/ (needs Chromium)
	@$(BIN)/python tests/screenshots.py metrics/report.html docs
	@PYTHONPATH=$(CURDIR) $(BIN)/python tests/review_screenshots.py docs

clean:  ## remove the virtual environment and every cache of this folder
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
