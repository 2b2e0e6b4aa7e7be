# Every target makes what it needs first, its virtual environment included; `make help` lists them.

PYTHON ?= python3
ARGS ?=
SECONDS ?= 60
CLANG ?= clang-14
PIP := -m pip -qq --disable-pip-version-check
HOW_TO_BUILD := pyproject.toml setup.py MANIFEST.in
CYTHON := $(shell find fastring e1000 -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
CODE := $(CYTHON) $(shell find fastring e1000 python -name '*.py' -o -name '*.pyi' -o -name py.typed)

# Tests import what is installed, never what lies in the folder they were started in.
export PYTHONSAFEPATH := 1

.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -ec
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-guest bench bench-report bench-tools bench-guest lint debug sanitize test-free-threaded fuzz fuzz-capture fuzz-vfio-user fuzz-coverage clean build

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: build  ## replay 11,000 real packets through both halves of the card and compare what arrived
	@mkdir -p build
	.venv/bin/fastring replay tests/data/mixed.pcap --clock virtual --out build/demo.pcap
	.venv/bin/fastring diff tests/data/mixed.pcap build/demo.pcap

test-guest: build .venv/.extra-test  ## boot virtual machines on served cards, as root: Linux's own driver (fetches QEMU and kernels)
	@tests/oracle/qemu.sh > /dev/null
	@tests/guest/setup.sh > /dev/null
	@.venv/bin/pytest -m guest tests/guest $(ARGS)

test: build .venv/.extra-test  ## run the tests (ARGS="-k ring" for some of them)
	@.venv/bin/pytest $(ARGS)

bench: build .venv/.extra-bench  ## run the benchmarks (ARGS="-s bench/test_path.py" for some of them)
	@.venv/bin/pytest $(if $(findstring bench/,$(ARGS)),,bench) $(ARGS)

bench-report: build .venv/.extra-bench  ## rings and pools beside other people's, as one HTML page with plots (ARGS="--rounds 5 --only capacity")
	@.venv/bin/python bench/report.py $(ARGS)

bench-tools: build .venv/.extra-bench .venv/.extra-test  ## replay against tcpreplay on a veth pair, as root (ARGS="--runs 1 --seconds 10")
	@.venv/bin/python bench/tools.py $(ARGS)

bench-guest: build .venv/.extra-test  ## a virtual machine's traffic on our card against QEMU's own, as root (ARGS="--runs 1"; fetches QEMU and kernels)
	@tests/oracle/qemu.sh > /dev/null
	@tests/guest/setup.sh > /dev/null
	@.venv/bin/python bench/virtual_machine.py $(ARGS)

lint: build .venv/.extra-lint  ## ruff, cython-lint, mypy, and the type stubs held against the compiled modules
	@failed=
	.venv/bin/ruff check . || failed=1
	PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/cython-lint fastring e1000 tests/fuzz || failed=1
	for source in $$(find fastring e1000 -name '*.pyx'); do
	    [ -e "$${source%x}i" ] || { echo "lint: $$source has no type stub: write $${source%x}i" >&2; failed=1; }
	done
	.venv/bin/mypy python fastring e1000 || failed=1
	.venv/bin/stubtest --concise --mypy-config-file pyproject.toml \
	    --allowlist tests/types/stubtest-allowlist.txt --ignore-unused-allowlist \
	    $$(find fastring e1000 -name '*.pyi' | sed 's|\.pyi$$||; s|/__init__$$||; s|/|.|g') || failed=1
	[ -z "$$failed" ]

# The two checking builds and that without a GIL are installed, not editable, so that no module of the ordinary build is found first.
# The packaging tests build with the ordinary switches, and models have nothing of ours compiled: `make test` runs them. What sanitize leaves
# out (tests/conftest.py) `make debug` runs.
CHECKED_TESTS = FASTRING_INSTALLED=1 .venv-$(@:test-%=%)/bin/pytest --ignore tests/packaging --ignore tests/model $(ARGS)

debug: .venv-debug/.built  ## build with assertions, bounds checks and UBSAN, and run the tests
	@$(CHECKED_TESTS)

sanitize: .venv-sanitize/.built  ## build with all that and ASAN, and run the tests
	@PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" $(CHECKED_TESTS) -m "not unsanitized and not slow and not guest"

test-free-threaded: .venv-free-threaded/.built  ## run the tests without a GIL (FREE_THREADED=python3.14t for yours; else one is built first)
	@PYTHON_GIL=0 $(CHECKED_TESTS)

FUZZ_ENVIRONMENT = PYTHONHOME="$$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1

# $(call fuzz,HARNESS): what it learns is kept in build/fuzz/corpus-HARNESS.
define fuzz
@mkdir -p build/fuzz/corpus-$(1)
.venv/bin/python tests/fuzz/seeds.py $(1) build/fuzz/seeds-$(1)
$(FUZZ_ENVIRONMENT) PYTHONPATH=build/fuzz/lib build/fuzz/fuzz_$(1) -max_len=4096 -timeout=30 -artifact_prefix=build/fuzz/$(1)- \
    $(or $(ARGS),-max_total_time=$(SECONDS) -verbosity=0 -print_final_stats=1 build/fuzz/corpus-$(1) build/fuzz/seeds-$(1) $(wildcard tests/fuzz/found/$(1))) \
    2> build/fuzz/log || { cat build/fuzz/log >&2; exit 1; }
sed -n 's/^stat::/$(1): /p' build/fuzz/log
endef

fuzz: build/fuzz/.built  ## fuzz the device for 60 s (SECONDS=600 for longer, ARGS=FILE for one input), with clang's libFuzzer, ASAN and UBSAN
	$(call fuzz,device)

fuzz-capture: build/fuzz/.built  ## the same with the capture reader
	$(call fuzz,capture)

fuzz-vfio-user: build/fuzz/.built  ## the same with the vfio-user server, by what a hostile client sends
	$(call fuzz,vfio_user)

fuzz-coverage: build/fuzz-coverage/.built  ## branch coverage of the device by all that make fuzz found so far (ARGS=--missing lists the rest)
	@mkdir -p build/fuzz/corpus-device
	.venv/bin/python tests/fuzz/seeds.py device build/fuzz/seeds-device
	$(FUZZ_ENVIRONMENT) .venv/bin/python tests/fuzz/coverage.py --llvm=$(patsubst clang%,%,$(CLANG)) --least=80 $(ARGS) \
	    build/fuzz-coverage build/fuzz/corpus-device build/fuzz/seeds-device tests/fuzz/found/device

clean:  ## remove all that was built, the virtual environments too
	@$(remove_built)
	rm -rf build dist .venv .venv-debug .venv-sanitize .venv-free-threaded python/*.egg-info *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find fastring e1000 python tests -name __pycache__ -prune -exec rm -rf {} +

build: .venv/.built

# --- how it is made --------------------------------------------------------------------------------------------------

# What must be there before anything else, told in one line.
define CHECK_MACHINE
import os, shlex, shutil, sys, sysconfig
if sys.version_info < (3, 11):
    sys.exit("make: needs Python 3.11 or later, and %s is %d.%d: make PYTHON=python3.11" % ((sys.executable,) + sys.version_info[:2]))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("make: this Python cannot make virtual environments: apt-get install python3-venv")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit("make: this Python's headers are missing: apt-get install python3-dev")
compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "gcc")[0]
if not shutil.which(compiler):
    sys.exit("make: no C compiler (%s): apt-get install gcc" % compiler)
endef
export CHECK_MACHINE

# Prints what pyproject.toml asks for, one requirement a line: "build" is the build's and the package's own, else an extra's.
define LIST_REQUIREMENTS
import sys, tomllib
told = tomllib.load(open("pyproject.toml", "rb"))
own = told["build-system"]["requires"] + told["project"]["dependencies"]
print(*(own if sys.argv[1] == "build" else told["project"]["optional-dependencies"][sys.argv[1]]), sep="\n")
endef
export LIST_REQUIREMENTS

# $(call install,FOLDER,EXTRA): an extra's requirements into a virtual environment.
define install
$(1)/bin/python -c "$$LIST_REQUIREMENTS" $(2) > $(1)/$(2)-requirements.txt
$(1)/bin/python $(PIP) install -r $(1)/$(2)-requirements.txt
endef

# $(call make_venv,FOLDER): the virtual environment, with what the build needs.
define make_venv
command -v $(PYTHON) > /dev/null || { echo "make: no $(PYTHON) here: name yours with make PYTHON=python3.11" >&2; exit 1; }
$(PYTHON) -c "$$CHECK_MACHINE"
[ -x $(1)/bin/python ] || $(PYTHON) -m venv $(1)
$(call install,$(1),build)
endef

# $(call quietly,COMMAND,LOG): what it says is shown only when it fails.
quietly = mkdir -p build; $(1) > build/$(2).log 2>&1 || { cat build/$(2).log >&2; exit 1; }

# How to compile and link a program that has this Python in it.
define EMBED_FLAGS
import sysconfig
var = sysconfig.get_config_var
print("-I%s -rdynamic -L%s -Wl,-rpath,%s -lpython%s %s" % (sysconfig.get_path("include"), var("LIBDIR"), var("LIBDIR"), var("LDVERSION"), var("LIBS")))
endef
export EMBED_FLAGS

# What an earlier build left beside the sources, and its objects.
remove_built = rm -rf build/lib.* build/temp.*; find fastring e1000 -name '*.pyx' | sed 's/\.pyx$$//' | while read -r module; do rm -f "$$module".c "$$module".*.so; done

.venv/.ready: $(HOW_TO_BUILD)
	@echo "make: setting up .venv and building fastring, which takes one to two minutes"
	$(call make_venv,.venv)
	$(remove_built)
	FASTRING_NO_COMPILE=1 .venv/bin/python $(PIP) install --no-build-isolation --editable '.[rich]'
	touch $@

.venv/.built: .venv/.ready $(CYTHON)
	@[ ! -e $@ ] || [ .venv/.ready -nt $@ ] || echo "make: sources changed, building again"
	$(call quietly,.venv/bin/python setup.py build_ext --inplace,build)
	touch $@

.venv/.extra-%: .venv/.ready
	@echo "make: installing what $* needs into .venv"
	$(call install,.venv,$*)
	touch $@

.venv-free-threaded/.ready: PYTHON = $(or $(FREE_THREADED),$(shell tests/packaging/free_threaded.sh || echo python3.13t))
# Some newest release has no wheel for it. (A comment behind the value would be part of it.)
.venv-free-threaded/.ready: export PIP_PREFER_BINARY := 1
.venv-debug/.ready .venv-sanitize/.ready .venv-free-threaded/.ready: .venv-%/.ready: $(HOW_TO_BUILD)
	@echo "make: setting up .venv-$* and building fastring in it, which takes a few minutes"
	$(call make_venv,.venv-$*)
	$(call install,.venv-$*,test)
	rm -rf build/$* build/cython-$*
	find fastring e1000 -name '*.c' ! -newer setup.py -delete
	touch $@

# Its objects lie in a folder of build/ of their own: one compiled for another build is never taken.
.venv-debug/.built: SWITCH := FASTRING_DEBUG=1
.venv-sanitize/.built: SWITCH := FASTRING_SANITIZE=1
.venv-debug/.built .venv-sanitize/.built .venv-free-threaded/.built: .venv-%/.built: .venv-%/.ready $(CODE)
	@[ ! -e $@ ] || [ .venv-$*/.ready -nt $@ ] || echo "make: sources changed, building .venv-$* again"
	rm -rf build/$*/dist
	$(call quietly,$(SWITCH) .venv-$*/bin/python setup.py build --build-base build/$* \
	    bdist_wheel --dist-dir build/$*/dist,$*)
	.venv-$*/bin/python $(PIP) install --no-deps --force-reinstall build/$*/dist/*.whl
	touch $@

build/fuzz/.built: SWITCH := 1
build/fuzz/.built: FLAGS := -fsanitize=fuzzer,address,undefined
build/fuzz-coverage/.built: SWITCH := coverage
build/fuzz-coverage/.built: FLAGS := -fsanitize=fuzzer -fprofile-instr-generate
build/fuzz/.built build/fuzz-coverage/.built: build/%/.built: .venv/.ready $(CODE) $(wildcard tests/fuzz/*.p* tests/fuzz/*.[ch])
	@command -v $(CLANG) > /dev/null || { echo "make: no $(CLANG) here: apt-get install clang-14 libclang-rt-14-dev llvm-14" >&2; exit 1; }
	echo "make: building fastring for $* with $(CLANG), which takes one to two minutes"
	$(call quietly,CC=$(CLANG) FASTRING_FUZZ=$(SWITCH) .venv/bin/python setup.py build --build-base build/$* --build-lib build/$*/lib,$*)
	for harness in device capture vfio_user; do
	    $(CLANG) -g -O1 $(FLAGS) -DHARNESS="\"fuzz_$$harness\"" tests/fuzz/main.c -o build/$*/fuzz_$$harness $$(.venv/bin/python -c "$$EMBED_FLAGS")
	done
	touch $@
