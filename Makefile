# The commands people type. Each makes the virtual environment .venv it needs; PYTHON=python3.12 chooses another Python.
#
#   make train    trains examples/digits.py        make asan     the op table under AddressSanitizer and UBSan
#   make test     all tests                        make wheel    a wheel for this machine's Python, in dist/
#   make bench    benchmarks                       make format   formats C++ and Python (format-check only looks)
#   make cuda     builds with CUDA kernels, for the GPU of this machine (CUDA_ARCHS=90 for another one)
#   make cuda-host-test  CUDA kernels on the CPU, under emulation
#   make test-cuda-emu   the op table on the emulated CUDA plugin
#   make cuda-static     registers and instructions of the compiled kernels, where nvcc is
#   make cuda-wheel      the wheel with the CUDA plugin for all architectures, and its size
#   make cuda-check   builds, proves, tests and times everything of CUDA on this machine's GPU (CHECK=--emu: rehearses)
#   make support  writes docs/support.md           make native   the C++ examples and benchmarks
#
# The kernels are compiled for this machine's processor only; ISAS="v2;v3;v4" compiles what a wheel has.
PYTHON ?= python3
ISAS ?= native
JOBS ?= $(shell nproc)
CUDA ?= AUTO
CUDA_ARCHS ?= native
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
TESTS ?= tests

export PATH := $(BIN):$(PATH)
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PIP_INSTALL := $(BIN)/python -m pip install -q
CMAKE := $(BIN)/cmake
# The requirements of one of pyproject.toml's extras.
extra = $$(sed -n 's/^$(1) = \[\(.*\)\].*/\1/p' pyproject.toml | tr -d '",')
DEV_BUILD := build/dev
ASAN_BUILD := build/asan

.PHONY: all build train test test-python test-cpp bench native support cuda cuda-host-test test-cuda-emu cuda-static cuda-check cuda-wheel asan wheel format format-check clean
all: build

# The environment with the build tools, made again when pyproject.toml changes.
$(VENV)/.tools: pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "fireseed needs Python 3.10 or newer; choose one with: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "could not make $(VENV); on Debian and Ubuntu: apt install python3-venv python3-dev g++"; exit 1; }
	$(PIP_INSTALL) "pip>=23.1" "scikit-build-core>=0.10" "pybind11>=2.13" "cmake>=3.20" ninja
	touch $@
$(VENV)/.dev: $(VENV)/.tools
	$(PIP_INSTALL) $(call extra,dev)
	touch $@
$(VENV)/.extras: $(VENV)/.tools
	$(PIP_INSTALL) numpy $(call extra,test)
	touch $@

# An editable install: Python files are used where they are, and only changed C++ files are compiled.
build: $(VENV)/.extras
	@test -d $(DEV_BUILD) || echo "compiling fireseed: some minutes the first time"
	$(PIP_INSTALL) --no-build-isolation -e . -Cbuild-dir=$(DEV_BUILD) -Ccmake.define.FIRESEED_ISAS="$(ISAS)" \
	  -Ccmake.define.FIRESEED_TESTS=AUTO -Ccmake.define.FIRESEED_CUDA=$(CUDA) -Ccmake.define.FIRESEED_CUDA_ARCHS="$(CUDA_ARCHS)"

train: build
	$(BIN)/python examples/digits.py

test: test-cpp test-python
test-python: build
	$(BIN)/python -m pytest -q $(TESTS)
test-cpp: build
	$(BIN)/ctest --test-dir $(DEV_BUILD) --output-on-failure

bench: build
	$(BIN)/python bench/run.py
native: build
	$(CMAKE) -S . -B $(DEV_BUILD) -DFIRESEED_BENCH=ON >/dev/null
	$(CMAKE) --build $(DEV_BUILD)

support: build
	$(BIN)/python tests/support_table.py

cuda: CUDA := ON
cuda: build

# The kernels of cuda/ compiled by the C++ compiler and run on the CPU: docs/cuda.md. SANITIZE="address;undefined" or thread.
# EMU_KERNELS=folder: links the kernels that test-cuda-emu has compiled instead of compiling them again (.ci/run).
# PROGRAMS="planted_bugs hopper": these of tests/cuda_host/test_*.cpp alone.
SANITIZE ?=
EMU_KERNELS ?=
PROGRAMS ?=
empty :=
CUDA_HOST_BUILD = build/cuda_host$(if $(SANITIZE),_$(firstword $(subst ;, ,$(SANITIZE))))
cuda-host-test: $(VENV)/.tools
	$(CMAKE) -S tests/cuda_host -B $(CUDA_HOST_BUILD) -G Ninja -DFS_EMU_SANITIZE="$(SANITIZE)" -DFS_EMU_KERNELS="$(EMU_KERNELS)" >/dev/null
	$(CMAKE) --build $(CUDA_HOST_BUILD) $(PROGRAMS:%=--target cuda_test_%)
	ASAN_OPTIONS=detect_leaks=0 $(BIN)/ctest --test-dir $(CUDA_HOST_BUILD) --output-on-failure -j $(JOBS) \
	  $(if $(PROGRAMS),-R '^cuda_test_($(subst $(empty) $(empty),|,$(strip $(PROGRAMS))))$$')

# The op table on the emulated CUDA plugin: the plugin's kernels through the C++ compiler, no GPU needed.
test-cuda-emu: build
	$(CMAKE) --build $(DEV_BUILD) --target fireseed_cuda_emu
	FIRESEED_CUDA_PLUGIN=$(CURDIR)/$(DEV_BUILD)/cuda_emu/libfireseed_cuda_emu.so \
	  $(BIN)/python -m pytest -q tests/test_cuda*.py tests/test_amp.py
	FS_EMU_PROTECT=1 FIRESEED_CUDA_PLUGIN=$(CURDIR)/$(DEV_BUILD)/cuda_emu/libfireseed_cuda_emu.so FIRESEED_TEST_DEVICE=cuda \
	  $(BIN)/python -m pytest -q -rs tests/test_ops.py

# Registers and opcodes of kernels that say what they compile to; CUOBJDUMP=path names a disassembler.
cuda-static: $(VENV)/.tools
	$(BIN)/python tests/cuda_static.py

# Works without a network: with the Python that has the build tools, in .venv or not.
CHECK ?=
cuda-check:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) bench/cuda_check.py $(CHECK)

# Python is not built with sanitizers, so their runtime is loaded first; leaks are Python's own and not reported.
asan: $(VENV)/.extras
	$(CMAKE) -S . -B $(ASAN_BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DFIRESEED_SANITIZE="address;undefined" \
	  -DFIRESEED_TESTS=ON -DFIRESEED_CUDA=OFF -DFIRESEED_ISAS="$(ISAS)" -DPython_EXECUTABLE=$(BIN)/python >/dev/null
	$(CMAKE) --build $(ASAN_BUILD)
	ASAN_OPTIONS=detect_leaks=0 $(BIN)/ctest --test-dir $(ASAN_BUILD) --output-on-failure
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  PYTHONPATH=$(ASAN_BUILD)/python PYTHONMALLOC=malloc $(BIN)/python -m pytest -q -p no:cacheprovider tests/test_ops.py

# Without the CUDA plugin, unless asked for: make wheel WHEEL_CUDA=ON
WHEEL_CUDA ?= OFF
wheel: $(VENV)/.tools
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation -w dist -Cbuild-dir=build/wheel \
	  -Ccmake.define.FIRESEED_CUDA=$(WHEEL_CUDA) .
	ls -l dist

# The wheel with the CUDA plugin for all architectures, and the plugin's share of it. Works where nvcc is, without a GPU.
cuda-wheel:
	$(MAKE) wheel WHEEL_CUDA=ON
	$(BIN)/python -c "import glob, os, zipfile; w = max(glob.glob('dist/*.whl'), key=os.path.getmtime); \
	  f = [i for i in zipfile.ZipFile(w).infolist() if i.filename.endswith('libfireseed_cuda.so')][0]; \
	  print(f'{f.filename}: {f.compress_size:,} bytes of the wheel, {f.file_size:,} installed')"

CPP_FILES = $$(git ls-files --cached --others --exclude-standard '*.h' '*.cpp' '*.inc' '*.cu' '*.cuh')
format: $(VENV)/.dev
	$(BIN)/clang-format -i $(CPP_FILES)
	$(BIN)/ruff check --fix .
format-check: $(VENV)/.dev
	$(BIN)/clang-format --dry-run -Werror $(CPP_FILES)
	$(BIN)/ruff check .

clean:
	rm -rf build dist $(VENV)
