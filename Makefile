# SPDX-License-Identifier: BSD-2-Clause
#
# `make help` lists the targets. Those a person calls (all, run, test, check, soak, chaos, bench) first set the machine up,
# then call make again: what the set-up installs, compilers included, is seen by a Makefile that is read afterwards.

BUILD ?= build
DEBIAN := build/debian/root
ARGS ?=
REPEAT ?= 50
REPEAT_LINUX ?= 10
SECONDS ?= 60
PARKS ?= 10000000
# Debian's python3 is the one that has pytest, whatever comes first in PATH.
PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

# ---- toolchain: the GNU Arm toolchain if it is there, else Debian's; CC=clang works with either's linker

ifeq ($(origin CROSS_COMPILE),undefined)
CROSS_COMPILE := $(if $(shell command -v aarch64-none-elf-gcc),aarch64-none-elf-,aarch64-linux-gnu-)
endif
ifeq ($(origin CC),default)
CC := $(CROSS_COMPILE)gcc
endif
ifeq ($(origin LD),default)
LD := $(CROSS_COMPILE)ld
endif
OBJCOPY ?= $(CROSS_COMPILE)objcopy
HOSTCC ?= gcc

TARGET := $(if $(findstring clang,$(notdir $(firstword $(CC)))),--target=aarch64-none-elf)
# The compiler's own freestanding headers and our few of <string.h>'s kind; no C library's.
COMPILER_HEADERS = $(shell $(CC) -print-file-name=include 2>/dev/null)

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Werror
# Errata 835769 and 843419 of Cortex-A53 are the compiler's and the linker's to avoid.
FREESTANDING = $(TARGET) -march=armv8-a -mfix-cortex-a53-835769 -mgeneral-regs-only -mstrict-align -mno-outline-atomics -ffreestanding \
	-fno-common -O2 -g -nostdinc -I. -isystem lib/libc -isystem $(COMPILER_HEADERS)
CPPFLAGS = $(FREESTANDING) -isystem $(DEBIAN)/usr/include
CFLAGS = -std=gnu17 $(WARNINGS) -fpie -fstack-protector-strong -mbranch-protection=standard
# The image is one segment in the file: EL2 gives its parts their permissions itself (mm/el2map.c). Linkers that would
# warn of that know the option.
LDFLAGS = $(if $(shell $(LD) --help 2>/dev/null | grep no-warn-rwx),--no-warn-rwx-segments) \
	--fix-cortex-a53-843419 -pie --no-dynamic-linker -z text -z max-page-size=4096 -z noexecstack -z norelro \
	--build-id=none --fatal-warnings
LIBRARIES := $(addprefix $(DEBIAN)/usr/lib/aarch64-linux-gnu/,libfdt.a liblz4.a)

# ---- the hypervisor

LAYERS := boot hyp pv dts vcpu mm dev lib
SOURCES := $(wildcard $(LAYERS:%=%/*.S) $(LAYERS:%=%/*.c))
OBJECTS := $(SOURCES:%=$(BUILD)/obj/%.o)

.PHONY: image
image: $(BUILD)/meanwhile.img

$(BUILD)/meanwhile.elf: $(OBJECTS) linker.ld $(LIBRARIES)
	@echo "  LD      $@"
	@$(LD) $(LDFLAGS) -T linker.ld -Map=$(@:.elf=.map) -o $@ $(OBJECTS) $(LIBRARIES)

%.img: %.elf
	@echo "  IMG     $@"
	@$(OBJCOPY) -O binary $< $@

# What a guest finds in its information page as the build.
COMMIT := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
$(BUILD)/commit: force
	@mkdir -p $(@D)
	@echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' > $@
$(BUILD)/obj/hyp/build.c.o: $(BUILD)/commit
$(BUILD)/obj/hyp/build.c.o: CPPFLAGS += -DMW_BUILD='"$(COMMIT)"'

$(BUILD)/obj/%.c.o: %.c $(BUILD)/toolchain
	@echo "  CC      $<"
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.S.o: %.S $(BUILD)/toolchain
	@echo "  AS      $<"
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -MMD -MP -c $< -o $@

# Changes when compiler or flags do, so that objects of two toolchains never meet.
.PHONY: force
$(BUILD)/toolchain: force
	@mkdir -p $(@D)
	@echo '$(CC) $(LD) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)' | cmp -s - $@ || \
		echo '$(CC) $(LD) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)' >$@

# ---- bare EL1 guests: one image for each tests/guest/*.c, with the code they share in tests/guest/lib

GUESTS := $(patsubst tests/guest/%.c,$(BUILD)/guests/%.img,$(wildcard tests/guest/*.c))
GUEST_LIB := $(wildcard tests/guest/lib/*.S tests/guest/lib/*.c)
GUEST_LIB_OBJECTS := $(GUEST_LIB:%=$(BUILD)/guests/obj/%.o)
GUEST_CFLAGS := -std=gnu17 -Wall -Wextra -Werror -fno-pie -fno-stack-protector

.PHONY: guests
guests: $(GUESTS)

$(BUILD)/guests/%.elf: $(BUILD)/guests/obj/tests/guest/%.c.o $(GUEST_LIB_OBJECTS) tests/guest/guest.ld
	@echo "  LD      $@"
	@$(LD) -static -no-pie -z max-page-size=4096 -z noexecstack --build-id=none -T tests/guest/guest.ld \
		-o $@ $< $(GUEST_LIB_OBJECTS)

$(BUILD)/guests/obj/%.c.o: %.c $(BUILD)/toolchain
	@echo "  CC      $<"
	@mkdir -p $(@D)
	@$(CC) $(FREESTANDING) $(GUEST_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/guests/obj/%.S.o: %.S $(BUILD)/toolchain
	@echo "  AS      $<"
	@mkdir -p $(@D)
	@$(CC) $(FREESTANDING) -MMD -MP -c $< -o $@

# ---- the demonstration's initramfs

.PHONY: demo
demo: $(BUILD)/demo.cpio

$(BUILD)/demo.cpio: tools/demo/init tools/mkinitramfs tools/mwlib/cpio.py build/debian/packages $(BUILD)/demo/apf \
		$(BUILD)/demo/meanwhile.ko
	@echo "  CPIO    $@"
	@kernel=$$(basename $$(readlink build/debian/vmlinuz)) && $(PYTHON) tools/mkinitramfs -o $@ tools/demo/init \
		bin/apf=$(BUILD)/demo/apf lib/modules/$${kernel#vmlinuz-}/meanwhile.ko=$(BUILD)/demo/meanwhile.ko

# Its debugging information is ten times as large as the module.
$(BUILD)/demo/meanwhile.ko: $(BUILD)/module/arm64/meanwhile.ko
	@mkdir -p $(@D)
	@aarch64-linux-gnu-strip --strip-debug -o $@ $<

# ---- the module for Linux guests, for each kernel whose headers were collected (tools/mw setup)

HEADERS := build/headers
MODULE_SOURCES := $(wildcard guest/linux/*) pv/abi.h

.PHONY: modules
modules: $(patsubst %,$(BUILD)/module/%/meanwhile.ko,arm64 rt 6.12)

$(BUILD)/module/%/meanwhile.ko: $(MODULE_SOURCES) $(HEADERS)/%
	@echo "  MODULE  $@"
	@rm -rf $(@D) && mkdir -p $(@D)/pv && cp guest/linux/* $(@D) && cp pv/abi.h $(@D)/pv
	@$(MAKE) --no-print-directory -s -C $(@D) KDIR=$(abspath $(HEADERS)/$*/build) ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-

# ---- programs for Linux guests

PROGRAMS := $(patsubst tests/linux/programs/%.c,$(BUILD)/programs/%,$(wildcard tests/linux/programs/*.c)) $(BUILD)/programs/chaos32
PROGRAM_CFLAGS := -std=gnu17 -O2 -Wall -Wextra -Werror -static -s

.PHONY: programs
programs: $(PROGRAMS)

# build_program (compiler)
define build_program
	@echo "  PROGRAM $@"
	@mkdir -p $(@D)
	@$(1) $(PROGRAM_CFLAGS) -o $@ $< $(filter %/libfdt.a,$(LIBRARIES))
endef

$(BUILD)/programs/%: tests/linux/programs/%.c tests/linux/programs/chaos.h
	$(call build_program,aarch64-linux-gnu-gcc -isystem $(DEBIAN)/usr/include)

# The same for AArch32.
$(BUILD)/programs/%32: tests/linux/programs/%.c tests/linux/programs/chaos.h
	@echo "  PROGRAM $@"
	@mkdir -p $(@D)
	@arm-linux-gnueabihf-gcc $(PROGRAM_CFLAGS) -o $@ $<

$(BUILD)/demo/%: tools/demo/%.c
	$(call build_program,aarch64-linux-gnu-gcc)

# ---- host programs: tests/unit/test_*.c under ASan and UBSan, tests/unit/tsan_*.c under TSan. Each names the
# hypervisor's sources it needs in a line `/* SOURCES: mm/stage2.c mm/desc.c */`; headers in tests/unit/fake stand in
# for the real ones.

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c tests/unit/tsan_*.c))
UNIT_HEADERS := $(wildcard tests/unit/*.h tests/unit/fake/*.h tests/unit/fake/*/*.h $(LAYERS:%=%/*.h))
UNIT_CFLAGS := -std=gnu17 -g -O1 -Wall -Wextra -Werror -fno-omit-frame-pointer -I tests/unit/fake -I . -DHOST_TEST
unit_sources = $(shell sed -n 's,^/\* *SOURCES: *\(.*\)\*/.*,\1,p' tests/unit/$(1).c)

.PHONY: unit
unit: $(UNIT)

define unit_rule
$(BUILD)/unit/$(1): tests/unit/$(1).c $(call unit_sources,$(1)) $(UNIT_HEADERS) Makefile
	@echo "  HOSTCC  $$@"
	@mkdir -p $$(@D)
	@$(HOSTCC) $(UNIT_CFLAGS) $(if $(filter tsan_%,$(1)),-fsanitize=thread,-fsanitize=address,undefined) \
		-fno-sanitize-recover=all $$(filter %.c,$$^) -o $$@ -lcmocka -lfdt -llz4 -lpthread
endef
$(foreach program,$(UNIT:$(BUILD)/unit/%=%),$(eval $(call unit_rule,$(program))))

# ---- fuzzers: tests/fuzz/fuzz_*.c with libFuzzer, which is clang's; they name their sources in the same way. Each begins
# with what tests/fuzz/corpus writes for it.

FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS = -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Wno-unknown-warning-option
fuzz_sources = $(shell sed -n 's,^/\* *SOURCES: *\(.*\)\*/.*,\1,p' tests/fuzz/$(1).c)

.PHONY: fuzzers
fuzzers: $(FUZZERS) $(BUILD)/fuzz/corpus

define fuzz_rule
$(BUILD)/fuzz/$(1): tests/fuzz/$(1).c $(call fuzz_sources,$(1)) $(UNIT_HEADERS) Makefile
	@echo "  FUZZCC  $$@"
	@mkdir -p $$(@D)
	@clang $(UNIT_CFLAGS) $(FUZZ_FLAGS) $$(filter %.c,$$^) -o $$@ -llz4
endef
$(foreach program,$(FUZZERS:$(BUILD)/fuzz/%=%),$(eval $(call fuzz_rule,$(program))))

$(BUILD)/fuzz/corpus: tests/fuzz/corpus $(wildcard tests/fuzz/*.py) tools/mwlib/pageimage.py
	@echo "  CORPUS  $@"
	@rm -rf $@ && $(PYTHON) tests/fuzz/corpus $@

# ---- what a person calls

AGAIN = +@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
PYTEST = $(PYTHON) -B -m pytest -p no:cacheprovider

.PHONY: all run test soak chaos fuzz bench bench-apf check format setup kernels clean distclean help
all: setup
	$(AGAIN) image

run: setup
	$(AGAIN) image demo >&2
	@$(PYTHON) tools/mw run $(or $(ARGS),--demo)

test: kernels
	$(AGAIN) image guests demo unit fuzzers modules programs
	@$(PYTEST) tests $(ARGS)

soak: kernels
	$(AGAIN) image guests demo unit fuzzers modules programs
	@$(PYTEST) tests --soak --repeat $(REPEAT) --repeat-linux $(REPEAT_LINUX) -m 'racy or slow' -v $(ARGS)

chaos: kernels
	$(AGAIN) image modules programs
	@$(PYTHON) -B tests/linux/chaos.py --parks $(PARKS) $(ARGS)

# What they find goes on from one time to the next, in build/fuzz/found; what crashes is left in build/fuzz.
fuzz: setup
	$(AGAIN) fuzzers
	@set -e; for name in $(FUZZERS:$(BUILD)/fuzz/fuzz_%=%); do mkdir -p $(BUILD)/fuzz/found/$$name; \
		$(BUILD)/fuzz/fuzz_$$name -max_total_time=$(SECONDS) -artifact_prefix=$(BUILD)/fuzz/ -print_final_stats=1 \
			$(BUILD)/fuzz/found/$$name $(BUILD)/fuzz/corpus/$$name; done

bench: setup
	$(AGAIN) image guests demo
	@$(PYTHON) tests/bench/run $(ARGS)

bench-apf: setup
	$(AGAIN) image $(BUILD)/module/arm64/meanwhile.ko $(BUILD)/programs/work
	@$(PYTHON) tests/bench/apf $(ARGS)

check: setup
	@$(PYTHON) tools/check

FORMATTED = $(wildcard $(foreach folder,$(LAYERS) lib/libc tests/guest tests/guest/lib tests/qemu tests/unit \
	tests/unit/fake tests/unit/fake/* tests/fuzz tools/demo,$(folder)/*.c $(folder)/*.h))

format:
	clang-format -i $(FORMATTED)

# mw setup needs python3 itself, and everything else it brings; `kernels` are for the tests alone.
setup kernels:
	@command -v $(PYTHON) >/dev/null || tools/bootstrap python3
	@$(PYTHON) tools/mw setup $(if $(filter kernels,$@),--kernels)

# Keeps what was fetched; distclean does not.
clean:
	@test ! -d $(BUILD) || find $(BUILD) -mindepth 1 -maxdepth 1 ! -name debian ! -name kernels ! -name headers ! -name detect -exec rm -rf {} +

distclean:
	rm -rf $(BUILD)

help:
	@echo 'make            build/meanwhile.img and .elf'
	@echo 'make run        the demonstration; ARGS= goes to tools/mw run instead of --demo (tools/mw run --help)'
	@echo 'make test       all tests; ARGS= goes to pytest'
	@echo 'make check      format, lint, include arrows, gcc and clang builds'
	@echo 'make format     apply the format that check wants'
	@echo 'make soak       the racy and the slow tests, REPEAT=$(REPEAT) times, with Linux REPEAT_LINUX=$(REPEAT_LINUX)'
	@echo 'make chaos      tasks that sleep for pages, under everything that may happen to them, PARKS=$(PARKS) times'
	@echo 'make fuzz       the fuzzers, each for SECONDS=$(SECONDS) s'
	@echo 'make bench      the figures'
	@echo 'make bench-apf  what asynchronous page faults are worth, beside plain waits'
	@echo 'make clean      remove what was built; make distclean also what was fetched'
	@echo
	@echo 'Each sets the machine up first. CROSS_COMPILE= and CC=clang choose the toolchain, BUILD= the folder.'

# For tools/check: make -s print-CFLAGS
print-%:
	@echo '$($*)'

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/guests/obj/tests/guest/*.d $(BUILD)/guests/obj/tests/guest/lib/*.d)
