# Needs Python 3.11+ and make; everything else is installed into .venv. PIP_INDEX_URL and the other PIP_ variables hold.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
# The CPU build of torch where no other is asked for: TORCH="torch==2.13.0" or a path to a wheel.
TORCH ?= torch==2.13.0
# Ray's usage report and its log of every worker would only talk to the network and the screen.
export RAY_USAGE_STATS_ENABLED := 0
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO := 0

.PHONY: quickstart setup test test-peers check bench peers parity bench-heuristics bench-dedup bench-tokenize bench-gpu bench-loader wheelhouse chaos clean

quickstart: setup  ## set everything up and run the main job on the shipped pages
	$(BIN)/sluice run workflows/recipes/quickstart.yaml --out runs/quickstart

setup: $(STAMP)  ## install into .venv and compile the kernels

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("sluice needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# torch first and alone, so that no other requirement chooses a build with CUDA for a machine without a GPU.
$(STAMP): pyproject.toml constraints.txt $(VENV)/bin/python
	$(BIN)/pip install -q $(TORCH)
	$(BIN)/pip install -q -c constraints.txt -e '.[s3,fast,evaluation,test,dev]'
	$(BIN)/python -c "from operators.kernels.compiled import warm; warm()"
	touch $@

test: setup  ## the test suite (about 14 minutes on 2 cores)
	$(BIN)/pytest -q -n 2 --dist worksteal -m "not ray and not sweep"
	$(BIN)/pytest -q -n 2 --dist loadfile -m "ray and not sweep"

check: setup  ## what a change must pass: style, types, layers, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports
	$(BIN)/codespell
	bash -n infra/slurm/*.sbatch

bench: setup  ## side-by-side measurements; BENCH_DATA is a folder with base.jsonl.zst
	$(BIN)/python benchmarks/engine_overhead.py
	$(BIN)/python -m benchmarks.heuristics $(BENCH_DATA)/base.jsonl.zst
	$(BIN)/python -m benchmarks.dedup_signatures $(BENCH_DATA)/base.jsonl.zst
	$(BIN)/python -m benchmarks.tokenization $(BENCH_DATA)/base.jsonl.zst

# Documents for the comparisons: JSON lines with `text` (and `lang`), plain or .zst. The shipped ones are few.
DOCUMENTS ?= samples/quality.jsonl

peers: setup  ## datatrove, NeMo Curator, dolma and Data-Juicer, each in an environment of its own under .peers/
	$(BIN)/python benchmarks/peers/install.py

parity: peers  ## their rules and ours on the same documents, number by number (docs/parity.md)
	$(BIN)/python -m benchmarks.parity $(DOCUMENTS)

bench-heuristics: peers  ## the speed of their filters and ours, side by side (docs/benchmarks/heuristics.md)
	$(BIN)/python -m benchmarks.heuristics_peers $(DOCUMENTS)
	$(BIN)/python -m benchmarks.heuristics_peers_scaling $(DOCUMENTS)

bench-dedup: setup  ## what deduplication finds and costs beside datatrove, text-dedup and datasketch (docs/dedup.md); BENCH_DATA as in benchmarks/dedup_sets.py
	$(BIN)/python benchmarks/peers/install.py datatrove textdedup rensa
	$(BIN)/python -m benchmarks.dedup_quality $(BENCH_DATA)
	$(BIN)/python -m benchmarks.dedup_peers $(BENCH_DATA)
	$(BIN)/python -m benchmarks.dedup_scaling $(BENCH_DATA)

chaos: setup  ## the long kill sweep: more seeds than the test suite has
	$(BIN)/pytest -q tests/chaos --chaos-seeds 40
	$(BIN)/pytest -q tests/workflows/takedown -m sweep

bench-tokenize: setup  ## encoding and training beside tokenizers, tiktoken and the fast engines (docs/benchmarks/tokenization.md); BENCH_DATA as for bench
	$(BIN)/python -m benchmarks.tokenization $(BENCH_DATA)/base.jsonl.zst
	$(BIN)/python -m benchmarks.tokenizer_training $(BENCH_DATA)/base.jsonl.zst

bench-loader: setup  ## training batches a second from token shards, one thread (docs/benchmarks/loader.md)
	$(BIN)/python -m benchmarks.loader

bench-gpu:  ## a training step's share of this GPU's FLOP (docs/guide/planning.md); any python with torch: make bench-gpu PYTHON=python3
	$(PYTHON) benchmarks/gpu/mfu.py --profile --out mfu.json

test-peers: setup  ## every document and window of exported token shards, read back by the trainers' own readers (docs/benchmarks/token_readers.md)
	TORCH="$(TORCH)" $(BIN)/python benchmarks/peers/install.py readers
	$(BIN)/python -m tests.peers.read_back $(DOCUMENTS)

wheelhouse: setup  ## every wheel needed, for compute nodes without network: pip install --no-index --find-links wheelhouse sluice
	$(BIN)/pip wheel -q -w wheelhouse $(TORCH)
	$(BIN)/pip wheel -q -w wheelhouse -c constraints.txt --find-links wheelhouse '.[s3,fast,evaluation]'

clean:
	rm -rf $(VENV) .peers build dist *.egg-info .cache .pytest_cache .ruff_cache .hypothesis wheelhouse
