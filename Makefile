# Thin front of CMake: setup, build, demo, test, bench. `make help` lists the targets.
MODELS := build/models
# Tests that compare with real models and with ONNX Runtime find both here.
export EML_MODELS := $(abspath $(MODELS))
export EML_NODE_MODULES := $(EML_MODELS)/node_modules

.PHONY: help all setup build programs models demo eif test test-dev test-clang test-asan test-fuzz test-nitro test-full test-analyze \
	assurance docs analyze bench clean

help:
	@echo 'make demo [TEXT="..."]  the main job, end to end, on a real model'
	@echo 'make test               every test: gcc, clang, sanitizers, fuzz smoke run, the image in QEMU'
	@echo 'make eif                the enclave image and its measurements, in build/eif'
	@echo 'make test-nitro         boots that image in QEMU: attestation, KMS, inference'
	@echo 'make bench              speeds, against ONNX Runtime'
	@echo 'make test-full          the above and the node tests of ONNX 1.17'
	@echo 'make assurance          docs/assurance.md from the property tests'
	@echo 'make analyze            gcc -fanalyzer, clang-tidy, cppcheck'
	@echo 'make docs               docs/operators.md from the operator list'
	@echo 'make build              build/dev only     make clean  remove build/'

all: build

setup:
	@tools/setup-debian.sh

build: setup
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev

models: setup
	@tools/fetch-models.sh $(MODELS) $(SET)

programs: setup
	@cmake --preset dev >/dev/null
	@cmake --build --preset dev --target programs

demo: programs
	@tools/fetch-models.sh $(MODELS) ocr
	@demo/demo.sh build/dev $(MODELS) "$(TEXT)"

test: test-dev test-clang test-asan test-fuzz test-nitro test-analyze
	@echo 'all tests passed'

test-dev: build models
	ctest --test-dir build/dev --output-on-failure --no-tests=error -j2 -LE 'nitro|full'

test-clang: setup
	@cmake --preset clang >/dev/null
	cmake --build --preset clang
	EML_BIN=$(abspath build/clang) EML_CASES=16 PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/prop/prop_05_10_memory.py

test-asan: setup
	@cmake --preset asan >/dev/null
	cmake --build --preset asan
	ctest --test-dir build/asan --output-on-failure --no-tests=error -j2 -L 'unit|prop|integration'

test-fuzz: setup
	@cmake --preset fuzz >/dev/null
	cmake --build --preset fuzz
	ctest --test-dir build/fuzz --output-on-failure --no-tests=error -j2 -L fuzz

# The image; REGION is KMS's, CONFIG=DIR another configuration than production's, KERNEL=FILE another kernel, or KERNEL=debian for
# Debian's stock cloud kernel (build/eif-debian); LIBC=musl for the program with that C library (build/eif-musl).
eif: setup
	@tools/image/build.sh $(if $(KERNEL),--kernel $(KERNEL)) $(if $(LIBC),--libc $(LIBC)) $(if $(CONFIG),--config $(CONFIG)) $(if $(REGION),--region $(REGION))
	@head -n 8 build/eif$(if $(filter debian,$(KERNEL)),-debian)$(if $(LIBC),-$(LIBC))/eml.pcrs.json

# A QEMU with the nitro-enclave machine and the kernel are built once, some minutes each, and kept under build/ until what they are
# made of changes.
test-nitro: build eif
	@tools/fetch-models.sh $(MODELS) ocr
	@tests/nitro/build-qemu.sh build/qemu
	@cmake --preset dev -DEML_NITRO=ON >/dev/null
	@cmake --build --preset dev
	ctest --test-dir build/dev --output-on-failure --no-tests=error -L nitro

# Of what reads the peer's bytes first and holds the keys; some minutes.
test-analyze:
	@tools/setup-debian.sh clang-tidy-14 cppcheck
	@FOLDERS='enclave src/wire src/crypto src/channel' tools/analyze.sh build/analyze cppcheck clang-tidy

# Static analysis of the three zones; a quarter of an hour.
analyze:
	@tools/setup-debian.sh clang-tidy-14 cppcheck
	@tools/analyze.sh build/analyze

# Beyond CI: other seeds; the newer ONNX node tests; memory searched under both compilers at -O2 and -O3; every system call of a
# request failing, for all n; host and enclave killed 200 times under load; the kernel built a second time, Debian's booted, and the
# program with musl; deliberate breakages, each of which a test must notice.
test-full: test
	EML_SEED=$$(date +%s) ctest --test-dir build/dev --output-on-failure --no-tests=error -j2 -L 'unit|prop'
	@tools/fetch-node-tests.sh build/onnx-1.17
	build/dev/tests/conformance/onnx-node-tests build/onnx-1.17/node
	tests/memory-configurations.sh
	cd tests/prop && EML_BIN=$(abspath build/dev) EML_EVERY=1 /usr/bin/python3 prop_11_12_faults.py
	cd tests/integration && EML_BIN=$(abspath build/dev) EML_KILLS=200 /usr/bin/python3 test_audit_kill.py
	$(MAKE) eif KERNEL=debian
	$(MAKE) eif LIBC=musl
	@cmake --preset dev -DEML_NITRO=ON -DEML_NITRO_FULL=ON >/dev/null
	@cmake --build --preset dev
	ctest --test-dir build/dev --output-on-failure --no-tests=error -L full
	tests/mutations.py build/mutations --jobs 2 --page docs/assurance.md

# What fails shows in the page.
assurance: build models
	ctest --test-dir build/dev --no-tests=error -j2 -L prop; status=$$?; tools/assurance.py build/dev docs/assurance.md && exit $$status

docs: build
	build/dev/tools/operators/eml-operators >docs/operators.md

bench: build
	@tools/fetch-models.sh $(MODELS) all
	@bench/run.sh build/dev $(MODELS)

clean:
	rm -rf build
