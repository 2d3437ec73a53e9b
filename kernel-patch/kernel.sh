#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Fetch, patch, build, boot and test the kernels of this directory.
#
#   kernel.sh fetch            get the source packages, check their checksums
#   kernel.sh apply            the source tree with the whole series, its path
#   kernel.sh build KERNEL     build one of: stock patched debug reference
#   kernel.sh boot KERNEL LIST boot it with a list of tests, print the console
#   kernel.sh test [KERNEL...] build, boot and test; all four if none is named
#   kernel.sh each             every patch of the series: build, boot, test
#   kernel.sh checkpatch       what checkpatch has to say
#
# Everything is kept in ${XDG_CACHE_HOME:-$HOME/.cache}/uffd-move; a kernel is
# known by the hash of its source, its patches, its configuration and the
# compiler.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/uffd-move
jobs=${JOBS:-$(nproc)}
# Other people may want the machine, too.
slowly="nice -n 19"

say() { printf '%s\n' "$*" >&2; }
die() { say "kernel.sh: $*"; exit 1; }

mkdir -p "$cache"/{packages,trees,build,kernels,logs}

# ---- sources ----

# base_of KERNEL: which line of BASE it is built from
base_of() {
	case $1 in
	stock|patched|debug|patch-*) echo linux-source-6.1 ;;
	reference) echo linux-source-6.12 ;;
	*) die "no such kernel: $1" ;;
	esac
}

# field BASE-NAME COLUMN
field() { awk -v n="$1" -v c="$2" '$1 == n { print $c }' "$here/BASE"; }

# tarball BASE-NAME: its path, downloaded if need be
tarball() {
	local name=$1 version sum file
	version=$(field "$name" 2)
	sum=$(field "$name" 3)
	for file in "/usr/src/$name.tar.xz" "$cache/packages/$name.tar.xz"; do
		if [ -f "$file" ] && echo "$sum  $file" | sha256sum -c --status; then
			echo "$file"
			return
		fi
	done
	say "downloading $name $version"
	(
		cd "$cache/packages"
		rm -rf unpacked "$name"_*.deb
		apt-get download -qq "$name=$version" >&2
		dpkg-deb -x "$name"_*.deb unpacked
		mv "unpacked/usr/src/$name.tar.xz" .
		rm -rf unpacked "$name"_*.deb
	)
	echo "$sum  $file" | sha256sum -c --status || die "$file: wrong checksum"
	echo "$file"
}

# patches_of KERNEL: the patches that it has, in order
patches_of() {
	local all
	all=$(sed -e 's/#.*//' -e '/^ *$/d' "$here/patches/series")
	case $1 in
	patched|debug) echo "$all" ;;
	patch-*) echo "$all" | head -n "${1#patch-}" ;;
	esac
}

# tree KERNEL: the path of a source tree that has just those patches. There is
# one tree for all patched kernels, patched up and down so that little has to be
# rebuilt, and one without patches per base.
tree() {
	local base dir want have n file
	base=$(base_of "$1")
	dir=$cache/trees/$base-$(field "$base" 3 | cut -c1-12)
	case $1 in patched|debug|patch-*) dir=$dir-series ;; esac
	want=$(patches_of "$1" | while read -r n; do sha256sum < "$here/patches/$n"; done)
	have=$(cat "$dir/.applied" 2>/dev/null || echo none)
	if [ "$have" != "$want" ]; then
		remember "$dir"
		if [ "$have" = none ] || ! undo "$dir"; then
			rm -rf "$dir" "$dir.new"
			mkdir -p "$dir.new"
			file=$(tarball "$base")
			say "unpacking $file"
			$slowly tar -xf "$file" -C "$dir.new" --strip-components=1
			mkdir "$dir.new/.undo"
			mv "$dir.new" "$dir"
		fi
		rm -f "$dir/.applied"
		patches_of "$1" | while read -r n; do
			patch -d "$dir" -p1 -s -N --no-backup-if-mismatch < "$here/patches/$n" >&2
			cp "$here/patches/$n" "$dir/.undo/"
		done
		same_times "$dir"
		printf '%s\n' "$want" > "$dir/.applied"
	fi
	echo "$dir"
}

# remember DIR, same_times DIR: a file that comes out of the patching as it went
# in keeps its time, so that make does not build for nothing.
remember() {
	[ -d "$1/.undo" ] || return 0
	cat "$1"/.undo/*.patch "$here"/patches/*.patch 2>/dev/null |
		sed -n 's,^+++ b/,,p' | sort -u > "$1/.changing"
	(cd "$1" && while read -r f; do if [ -f "$f" ]; then printf '%s\n' "$f"; fi; done < .changing |
		cpio -pdmu --quiet .remember)
}

same_times() {
	local f
	[ -d "$1/.remember" ] || return 0
	while read -r f; do
		if [ -f "$1/$f" ] && cmp -s "$1/$f" "$1/.remember/$f"; then
			touch -r "$1/.remember/$f" "$1/$f"
		fi
	done < "$1/.changing"
	rm -rf "$1/.remember" "$1/.changing"
}

# undo DIR: take the patches out again, the last one first
undo() {
	local p
	rm -f "$1/.applied"
	for p in $(printf '%s\n' "$1"/.undo/*.patch | sort -r); do
		[ -f "$p" ] || continue
		patch -d "$1" -p1 -s -R -f < "$p" >&2 || return 1
		rm "$p"
	done
}

# ---- building ----

fragments() {
	echo "$here/config/base.config"
	[ "$1" != debug ] || echo "$here/config/debug.config"
}

key() {
	local n
	{
		field "$(base_of "$1")" 3
		patches_of "$1" | while read -r n; do cat "$here/patches/$n"; done
		# shellcheck disable=SC2046
		cat $(fragments "$1")
		gcc --version | head -n 1
		ld --version | head -n 1
	} | sha256sum | cut -c1-24
}

# build KERNEL: prints the directory with bzImage and config
build() {
	local kernel=$1 out tree build
	out=$cache/kernels/$(key "$kernel")
	if [ ! -f "$out/bzImage" ]; then
		exec 9> "$cache/build.lock"
		flock 9
		tree=$(tree "$kernel")
		build=$cache/build/$(basename "$tree")-$([ "$kernel" = debug ] && echo debug || echo base)
		mkdir -p "$build" "$out"
		say "building $kernel ($jobs jobs), log in $out/log"
		configure "$kernel" "$tree" "$build"
		if ! $slowly make -C "$tree" O="$build" -j"$jobs" bzImage > "$out/log" 2>&1; then
			tail -n 20 "$out/log" >&2
			die "$kernel does not build"
		fi
		if warnings "$kernel" "$tree" < "$out/log" >&2; then
			die "$kernel: the series brings warnings"
		fi
		cp "$build/.config" "$out/config"
		cp "$build/arch/x86/boot/bzImage" "$out/bzImage.new"
		mv "$out/bzImage.new" "$out/bzImage"
		exec 9>&-
	fi
	echo "$out"
}

# warnings KERNEL TREE: those in the log that are about files of the series
warnings() {
	local n
	patches_of "$1" | while read -r n; do sed -n "s,^+++ b/,$2/,p" "$here/patches/$n"; done |
		sort -u | sed 's/$/:/' > "$cache/touched"
	grep 'warning:' | grep -F -f "$cache/touched"
}

configure() {
	local kernel=$1 tree=$2 build=$3 line
	make -C "$tree" O="$build" tinyconfig > /dev/null 2>&1
	# shellcheck disable=SC2046
	cat $(fragments "$kernel") >> "$build/.config"
	make -C "$tree" O="$build" olddefconfig > /dev/null 2>&1
	# What was asked for and is not there would be tested by nobody.
	# shellcheck disable=SC2046
	cat $(fragments "$kernel") | grep '^CONFIG.*=y$' | while read -r line; do
		grep -qx "$line" "$build/.config" || die "configuration: no $line"
	done
}

# ---- booting ----

# guest LIST: an initramfs with process 1, the tests and what to run of them
guest() {
	local root out=$cache/guest-$$.gz
	root=$(mktemp -d)
	mkdir -p "$root"/{proc,sys,dev,tmp,tests}
	compile "$here/guest/init.c" "$root/init"
	compile "$here/guest/answers.c" "$root/tests/answers"
	compile "$here/guest/races.c" "$root/tests/races"
	compile "$here/guest/absent.c" "$root/tests/absent"
	# Programs of others, for example those of the crates
	if [ -n "${EXTRA_TESTS:-}" ]; then
		cp $EXTRA_TESTS "$root/tests/"
	fi
	cp "$1" "$root/tests/LIST"
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$out"
	rm -rf "$root"
	echo "$out"
}

compile() {
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -Wno-missing-field-initializers \
		-Wno-unused-function -static -pthread -o "$2" "$1"
}

qemu() {
	local seconds=$1 accel=$2 image=$3 initrd=$4
	# Two memory nodes, for migration. A panic ends the machine.
	timeout --foreground "$seconds" $slowly qemu-system-x86_64 \
		-machine "q35,accel=$accel" \
		-cpu "$([ "$accel" = kvm ] && echo host || echo max)" \
		-smp 2 -m 1G -kernel "$image" -initrd "$initrd" \
		-append "console=ttyS0 panic=-1 numa=fake=2 loglevel=4 quiet" \
		-nodefaults -display none -serial stdio -no-reboot < /dev/null
}

# accel: kvm where it works for an ordinary kernel, which the presence of the
# device does not tell; otherwise emulation
accel() {
	local mark list initrd
	mark=$cache/accel-$(cat /proc/sys/kernel/random/boot_id)
	if [ ! -f "$mark" ]; then
		echo tcg > "$mark"
		if [ -w /dev/kvm ]; then
			say "trying whether KVM works (25 s at most)"
			list=$(mktemp)
			echo '20 2 /tests/absent' > "$list"
			initrd=$(guest "$list")
			if qemu 25 kvm "$1" "$initrd" 2>/dev/null | grep -Eq '^VERDICT: (passed|failed:)'; then
				echo kvm > "$mark"
			fi
			rm -f "$list" "$initrd"
		fi
		say "accelerator: $(cat "$mark")"
	fi
	cat "$mark"
}

# boot KERNEL LIST LOG: true if the guest says that all went well
boot() {
	local kernel=$1 list=$2 log=$3 out initrd how seconds
	out=$(build "$kernel") || return 1
	how=$(accel "$out/bzImage")
	initrd=$(guest "$list") || return 1
	seconds=$(awk '!/^#/ { s += $1 } END { print s + 120 }' "$list")
	say "booting $kernel with $(basename "$list") ($how, $seconds s at most), console in $log"
	qemu "$seconds" "$how" "$out/bzImage" "$initrd" > "$log" 2>&1 || true
	rm -f "$initrd"
	# The first verdict is always "failed"; only the last one counts.
	[ "$(tr -d '\r' < "$log" | grep '^VERDICT: ' | tail -n 1)" = "VERDICT: passed" ]
}

# ---- testing ----

list_of() {
	case $1 in
	stock|patch-1) echo "$here/tests/absent.list" ;;
	patch-*) echo "$here/tests/smoke.list" ;;
	reference) echo "$here/tests/reference.list" ;;
	*) echo "$here/tests/full.list" ;;
	esac
}

answers() { tr -d '\r' < "$1" | grep '^# answer: ' || true; }

# run_test KERNEL: one line of the table
run_test() {
	local kernel=$1 log=$cache/logs/$1.log verdict=passed
	: > "$log"
	boot "$kernel" "$(list_of "$kernel")" "$log" || verdict=FAILED
	tr -d '\r' < "$log" | awk -v k="$kernel" -v v="$verdict" '
		/^# running / { prog = $3; sub(/,/, "", prog) }
		/^ok .*# SKIP/ { skip[prog]++; next }
		/^ok / { ok[prog]++ }
		/^not ok / { bad[prog]++ }
		{ if (prog != "" && !(prog in seen)) { seen[prog] = 1; order[++n] = prog } }
		END {
			for (i = 1; i <= n; i++) {
				p = order[i]
				printf "%-10s %-16s %6d %6d %7d  %s\n", k, p, ok[p], bad[p], skip[p], v
			}
			if (!n)
				printf "%-10s %-16s %6d %6d %7d  %s\n", k, "-", 0, 0, 0, v
		}'
	[ "$verdict" = passed ]
}

table_head() { printf '%-10s %-16s %6s %6s %7s  %s\n' kernel program passed failed skipped verdict; }

run_tests() {
	local kernel bad=0 k
	table_head
	for kernel in "$@"; do
		run_test "$kernel" || bad=1
	done
	# One interface, one answer
	for k in debug reference; do
		case "+ $* + $* +" in
		*" patched "*+*" $k "*)
			if diff <(answers "$cache/logs/patched.log") <(answers "$cache/logs/$k.log"); then
				echo "answers of patched and $k: $(answers "$cache/logs/$k.log" | wc -l), all equal"
			else
				echo "answers of patched (<) and $k (>) differ"
				bad=1
			fi ;;
		esac
	done
	return $bad
}

each() {
	local n bad=0
	table_head
	for n in $(seq "$(patches_of patched | wc -l)"); do
		run_test "patch-$n" || bad=1
	done
	return $bad
}

checkpatch() {
	local dir n
	dir=$(tree stock)
	for n in $(patches_of patched); do
		echo "== $n"
		perl "$dir/scripts/checkpatch.pl" --no-tree --strict --terse \
			"$here/patches/$n" || true
	done
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
fetch)
	for n in linux-source-6.1 linux-source-6.12; do tarball $n; done ;;
apply) tree patched ;;
build) build "${1:?which kernel}" ;;
boot)
	verdict=0
	boot "${1:?which kernel}" "${2:?which list}" "$cache/logs/boot.log" || verdict=1
	cat "$cache/logs/boot.log"
	exit $verdict ;;
test)
	[ $# -gt 0 ] || set -- stock patched debug reference
	run_tests "$@" ;;
each) each ;;
checkpatch) checkpatch ;;
*) sed -n '5,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
