# Two commands do everything on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# More threads than cores makes every thread wait for the slowest; the suite runs one thread a worker.
export TOKENIZERS_PARALLELISM = false
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: demo test search lint install page clean

install: $(STAMP)

# TrackEval and vos-benchmark ask for opencv-python, whose files are those of the headless one that we use, built anew for a
# display, and got10k for what downloads and draws. They are installed without: nothing that is measured here does.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps got10k tabulate trackeval vos-benchmark
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/keepsight demo --out out/demo --overwrite

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# The property tests on examples drawn anew. What fails here becomes an `@example` of its test.
search: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --hypothesis-profile new $$(grep -rl "from hypothesis" tests --include="test_*.py")

# The browser page, from ui/ into src/keepsight/server/static; needed only after a change in ui/ (Node 20.19 or newer).
page:
	cd ui && npm ci --no-audit --no-fund && npm run check && npm test && npm run build

clean:
	rm -rf $(VENV) ui/node_modules out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
