#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Fetch, patch, build, boot and test the kernels of this directory.
#
#   kernel.sh missing [deb]    packages that are not installed, by name
#   kernel.sh unavailable      sources neither here nor in the package lists
#   kernel.sh fetch            get the source packages, check their checksums
#   kernel.sh apply            the source tree with the whole series, its path
#   kernel.sh build KERNEL     build one of: stock patched debug reference
#   kernel.sh boot KERNEL LIST [ARGUMENTS]
#                              boot it with a list of tests, print the console
#   kernel.sh test [KERNEL...] build, boot and test; all four and the host if none
#                              is named
#   kernel.sh smoke            the patched kernel and the shortest list
#   kernel.sh each             every patch of the series: build, boot, test
#   kernel.sh mutate [BUG...]  kernels with a known mistake: is it noticed?
#   kernel.sh checkpatch       what checkpatch has to say
#   kernel.sh deb [TARGET]     Debian's own kernel with the series, as packages, and a
#                              look whether it boots and answers
#
# Everything is kept in ${XDG_CACHE_HOME:-$HOME/.cache}/uffd-move; a kernel is
# known by the hash of its source, its patches, its configuration and the
# compiler. GUEST_PROGRAMS names a folder with more programs to test, with a
# list of them for each kernel (programs-stock.list and so on), and for the
# machine that this runs on (programs-host.list); "boot" takes its programs from there,
# too. GUESTS says how many machines are emulated at the same time; by default it
# is one for each processor.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/uffd-move
jobs=${JOBS:-$(nproc)}
guests=${GUESTS:-$jobs}
# Other people may want the machine, too; who has lowered the priority already
# meant that much and no more.
slowly=
[ "$(nice)" -gt 0 ] || slowly="nice -n 10"

say() { printf '%s\n' "$*" >&2; }
die() { say "kernel.sh: $*"; exit 1; }

mkdir -p "$cache"/{packages,trees,build,kernels,logs}

# ---- sources ----

# base_of KERNEL: which line of BASE it is built from
base_of() {
	case $1 in
	stock|patched|debug|mutants|mutants-debug|patch-*) echo linux-source-6.1 ;;
	reference) echo linux-source-6.12 ;;
	*) die "no such kernel: $1" ;;
	esac
}

# field BASE-NAME COLUMN
field() { awk -v n="$1" -v c="$2" '$1 == n { print $c }' "$here/BASE"; }

# tree_of BASE-NAME: where its source tree is, or will be
tree_of() { echo "$cache/trees/$1-$(field "$1" 3 | cut -c1-12)"; }

# fetched BASE-NAME: the path of its tarball, if it is here with the right checksum
fetched() {
	local sum file
	sum=$(field "$1" 3)
	for file in "/usr/src/$1.tar.xz" "$cache/packages/$1.tar.xz"; do
		if [ -f "$file" ] && echo "$sum  $file" | sha256sum -c --status; then
			echo "$file"
			return
		fi
	done
	return 1
}

# tarball BASE-NAME: its path, downloaded if need be
tarball() {
	local name=$1 version file
	if fetched "$name"; then return; fi
	version=$(field "$name" 2)
	file=$cache/packages/$name.tar.xz
	say "downloading $name $version"
	(
		# Nothing here ends the script by itself: in a command substitution errexit is off.
		cd "$cache/packages" &&
			rm -rf unpacked "$name"_*.deb &&
			apt-get download -qq "$name=$version" >&2 &&
			dpkg-deb -x "$name"_*.deb unpacked &&
			mv "unpacked/usr/src/$name.tar.xz" . &&
			rm -rf unpacked "$name"_*.deb
	) || die "$name $version cannot be had; if the archive has it, 'apt-get update' comes first"
	fetched "$name" || die "$file: wrong checksum"
}

# patches_of KERNEL: the patches that it has, in order, as paths
patches_of() {
	local all
	all=$(sed -e 's/#.*//' -e '/^ *$/d' -e "s,^,$here/patches/," "$here/patches/series")
	case $1 in
	patched|debug) echo "$all" ;;
	mutants*) echo "$all"; echo "$here/mutants/switches.patch" ;;
	patch-*) echo "$all" | head -n "${1#patch-}" ;;
	esac
}

# unpacked BASE-NAME: the path of its source tree, whatever patches it has
unpacked() {
	local dir file
	dir=$(tree_of "$1")
	if [ ! -d "$dir" ]; then
		rm -rf "$dir.new"
		mkdir -p "$dir.new/.undo"
		file=$(tarball "$1") || exit 1
		say "unpacking $file"
		$slowly tar -xf "$file" -C "$dir.new" --strip-components=1 || die "$file cannot be unpacked"
		: > "$dir.new/.applied"
		mv "$dir.new" "$dir"
	fi
	echo "$dir"
}

# tree KERNEL: the path of a source tree that has just those patches. There is
# one tree per base, patched up and down so that little has to be rebuilt.
tree() {
	local dir want have n
	dir=$(unpacked "$(base_of "$1")") || exit 1
	want=$(patches_of "$1" | while read -r n; do sha256sum < "$n"; done)
	have=$(cat "$dir/.applied" 2>/dev/null || echo none)
	if [ "$have" != "$want" ]; then
		remember "$dir" "$1"
		if [ "$have" = none ] || ! undo "$dir"; then
			rm -rf "$dir"
			unpacked "$(base_of "$1")" > /dev/null || exit 1
		fi
		rm -f "$dir/.applied"
		patches_of "$1" | while read -r n; do
			patch -d "$dir" -p1 -s -N -f --no-backup-if-mismatch < "$n" >&2 || die "$n does not apply"
			# Names sort in the order of the patches; this one is the last.
			cp "$n" "$dir/.undo/$(basename "$n" | sed 's/^switches/9999-switches/')"
		done || exit 1
		same_times "$dir"
		printf '%s\n' "$want" > "$dir/.applied"
	fi
	echo "$dir"
}

# remember DIR KERNEL, same_times DIR: a file that comes out of the patching as it went
# in keeps its time, so that make does not build for nothing.
remember() {
	[ -d "$1/.undo" ] || return 0
	{
		cat "$1"/.undo/*.patch 2>/dev/null || true
		patches_of "$2" | xargs -r cat
	} | sed -n 's,^+++ b/,,p' | sort -u > "$1/.changing"
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

# lock KERNEL: one at a time may change the tree of a kernel, or build from it
lock() {
	exec 9> "$cache/$(base_of "$1").lock"
	flock 9
}

fragments() {
	echo "$here/config/base.config"
	case $1 in debug|*-debug) echo "$here/config/debug.config" ;; esac
}

key() {
	{
		field "$(base_of "$1")" 3
		patches_of "$1" | xargs -r cat
		# shellcheck disable=SC2046
		cat $(fragments "$1")
		gcc --version | head -n 1
		ld --version | head -n 1
	} | sha256sum | cut -c1-24
}

# build KERNEL: prints the directory with bzImage and config
build() {
	local kernel=$1 out tree build
	# A name that does not exist ends here, not in a tree without one.
	base_of "$kernel" > /dev/null || exit 1
	out=$cache/kernels/$(key "$kernel")
	if [ ! -f "$out/bzImage" ]; then
		lock "$kernel"
		tree=$(tree "$kernel") || exit 1
		build=$cache/build/$(basename "$tree")-$(case $kernel in debug|*-debug) echo debug ;; *) echo base ;; esac)
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
		selftest "$tree" "$out/selftest" || die "$kernel: its selftest does not compile"
		cp "$build/.config" "$out/config"
		cp "$build/arch/x86/boot/bzImage" "$out/bzImage.new"
		mv "$out/bzImage.new" "$out/bzImage"
		exec 9>&-
	fi
	echo "$out"
}

# warnings KERNEL TREE: those in the log that are about files of the series
warnings() {
	patches_of "$1" | xargs -r sed -n "s,^+++ b/,$2/,p" | sort -u | sed 's/$/:/' > "$cache/touched"
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

# guest LIST FOLDER BUILT: an initramfs with process 1 and what is to be run: the
# programs of FOLDER or, if that is empty, our own tests and the kernel's
guest() {
	local root out
	out=$(mktemp "$work/guest-XXXXXX.gz")
	root=$(mktemp -d "$work/root-XXXXXX")
	mkdir -p "$root"/{proc,sys,dev,tmp,tests}
	compile "$root/init" "$here"/guest/init.c || return 1
	if [ -n "$2" ]; then
		cp -r "$2/." "$root/tests/"
		# The one program of others that they call
		echo 'int main(void) { return 0; }' | gcc -static -o "$root/tests/true" -x c - || return 1
	else
		compile "$root/tests/answers" "$here"/guest/answers/*.c "$here"/guest/ktap.c || return 1
		compile "$root/tests/races" "$here"/guest/races/*.c "$here"/guest/ktap.c || return 1
		compile "$root/tests/late" "$here"/guest/{late,ktap}.c || return 1
		compile "$root/tests/absent" "$here"/guest/{absent,ktap}.c || return 1
		compile "$root/tests/with_swap" "$here"/guest/{with_swap,ktap}.c || return 1
		[ ! -f "$3/selftest" ] || cp "$3/selftest" "$root/tests/"
	fi
	cp "$1" "$root/tests/LIST"
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$out"
	rm -rf "$root"
	echo "$out"
}

# selftest TREE PROGRAM: the one that the last patch adds to the kernel's own tests,
# with the header that the second one changes
selftest() {
	local vm=$1/tools/testing/selftests/vm dir
	[ -f "$vm/uffd-move.c" ] || return 0
	dir=$(mktemp -d)
	mkdir "$dir/linux"
	cp "$1/include/uapi/linux/userfaultfd.h" "$dir/linux/"
	# What its neighbours bring is not ours to judge.
	compile "$2" -w -I "$dir" "$vm/uffd-move.c" "$vm/vm_util.c" || return 1
	rm -rf "$dir"
}

# compile PROGRAM SOURCE...
compile() {
	local program=$1
	shift
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror \
		-Wno-missing-field-initializers -Wno-unused-function \
		-static -pthread -o "$program" "$@"
}

qemu() {
	local seconds=$1 accel=$2 image=$3 initrd=$4 append=${5:-}
	# Two memory nodes, for migration. A panic ends the machine, and so does an oops,
	# which may have left a lock behind for which all others would wait.
	timeout --foreground "$seconds" $slowly qemu-system-x86_64 \
		-machine "q35,accel=$accel" \
		-cpu "$([ "$accel" = kvm ] && echo host || echo max)" \
		-smp 2 -m "${MEMORY:-1G}" -kernel "$image" -initrd "$initrd" \
		-append "console=ttyS0 panic=-1 oops=panic numa=fake=2 loglevel=4 quiet \
			rcupdate.rcu_cpu_stall_timeout=300 $append" \
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
			list=$(mktemp "$work/list-XXXXXX")
			echo 'absent 20 2 /tests/absent' > "$list"
			initrd=$(guest "$list" "" "")
			if qemu 25 kvm "$1" "$initrd" 2>/dev/null | grep -Eq '^VERDICT: (passed|failed:)'; then
				echo kvm > "$mark"
			fi
			rm -f "$list" "$initrd"
		fi
		say "accelerator: $(cat "$mark")"
	fi
	cat "$mark"
}

# boot KERNEL LIST LOG [FOLDER [ARGUMENTS]]: builds it first
boot() {
	local out
	out=$(build "$1") || return 1
	boot_image "$1" "$out/bzImage" "$2" "$3" "$out" "${4:-}" "${5:-}"
}

# boot_image KERNEL IMAGE LIST LOG [BUILT [FOLDER [ARGUMENTS]]]: true if the guest
# says that all went well; BUILT and FOLDER as for guest, ARGUMENTS for the kernel's
# command line
boot_image() {
	local kernel=$1 image=$2 list=$3 log=$4 initrd how seconds patience=
	# Emulation is slow, and may have to wait for a processor: what the kernel
	# takes for a hang must be longer than that. While 6.1 looks at its first
	# processor it forgets for a moment that it has five levels of page tables, and
	# KASAN takes an interrupt that comes then for a wild access.
	case $kernel in
	debug|*-debug)
		patience="watchdog_thresh=60 sysctl.kernel.hung_task_timeout_secs=600 no5lvl" ;;
	esac
	how=$(accel "$image")
	initrd=$(guest "$list" "${6:-}" "${5:-}") || return 1
	seconds=$(awk '!/^#/ { s += $2 } END { print s + 120 }' "$list")
	say "booting $kernel with $(basename "$list") ${7:-}($how, $seconds s at most), console in $log"
	qemu "$seconds" "$how" "$image" "$initrd" "$patience ${7:-}" > "$log" 2>&1 || true
	rm -f "$initrd"
	# The first verdict is always "failed"; only the last one counts.
	[ "$(tr -d '\r' < "$log" | grep '^VERDICT: ' | tail -n 1)" = "VERDICT: passed" ]
}

# ---- testing ----

answers() { tr -d '\r' < "$1" | grep '^# answer: ' || true; }

head_of_table() {
	printf '%-10s %-12s %6s %6s %7s %7s  %s\n' kernel suite passed failed skipped seconds verdict
}

# rows KERNEL VERDICT LOG LIST: a line for each suite of one boot
rows() {
	tr -d '\r' < "$3" | awk -v k="$1" -v v="$2" '
		/^# result / {
			if (!($3 in ok)) order[++n] = $3
			ok[$3] += $4; bad[$3] += $5; skip[$3] += $6; took[$3] += $7
		}
		# A suite that never ended has no result.
		/^# suite / { s = $3; sub(/:/, "", s); if (!(s in ok)) { order[++n] = s; ok[s] += 0 } }
		END {
			if (!n) order[++n] = "(none)"
			for (i = 1; i <= n; i++) {
				s = order[i]
				printf "%-10s %-12s %6d %6d %7d %7d  %s\n", k, s, ok[s], bad[s], skip[s],
					took[s], i == n ? v : ""
			}
		}'
	# Why it failed, and why something was skipped
	tr -d '\r' < "$3" | sed -n 's/^# failure: /           failure: /p'
	tr -d '\r' < "$3" | grep -o 'skipped: .*' | grep -v '^skipped: 0' | sort | uniq -c |
		sed 's/^ *\([0-9]*\) /           \1 x /' || true
	sed -n 's/^# left out: /           left out: /p' "$4"
}

# run_list KERNEL LIST [FOLDER]: boots, and prints its lines of the table
run_list() {
	local kernel=$1 list=$2 log verdict=passed
	log=$cache/logs/$kernel-$(basename "$list" .list).log
	: > "$log"
	case $kernel in
	host) on_host "$list" "$log" "$3" || verdict=FAILED ;;
	deb) boot_image deb "$work/vmlinuz" "$list" "$log" || verdict=FAILED ;;
	*) boot "$kernel" "$list" "$log" "${3:-}" || verdict=FAILED ;;
	esac
	rows "$kernel" $verdict "$log" "$list"
	[ $verdict = passed ]
}

# on_host LIST LOG FOLDER: the programs as they are, on this machine's kernel
on_host() {
	local init=$work/init
	compile "$init" "$here"/guest/init.c || return 1
	say "running $(basename "$1") on this machine, output in $2"
	$slowly "$init" "$1" "$3" > "$2" 2>&1 < /dev/null || true
	[ "$(grep '^VERDICT: ' "$2" | tail -n 1)" = "VERDICT: passed" ]
}

# suites KERNEL: what is run there, each line a list and a folder
suites() {
	case $1 in
	host) ;;
	stock|reference) echo "$here/tests/$1.list" ;;
	*) echo "$here/tests/full.list" ;;
	esac
	[ -z "${GUEST_PROGRAMS:-}" ] || echo "$GUEST_PROGRAMS/programs-$1.list $GUEST_PROGRAMS"
}

# run_all KERNEL...: builds one after the other, as each build uses all
# processors; then boots, as many at a time as there are processors
run_all() {
	local kernel list folder out n=0 bad=0
	for kernel in "$@"; do
		[ "$kernel" != host ] || continue
		out=$(build "$kernel") || { broken="$broken $kernel "; continue; }
		accel "$out/bzImage" > /dev/null
	done
	for kernel in "$@"; do
		while read -r list folder; do
			n=$((n + 1))
			while [ "$(jobs -rp | wc -l)" -ge "$guests" ]; do
				wait -n || true
			done
			in_turn "$(printf '%s/run-%02d' "$work" $n)" "$kernel" "$list" "$folder" &
		done < <(suites "$kernel")
	done
	wait
	cat "$work"/run-??.rows >> "$table" 2> /dev/null || true
	[ "$(cat "$work"/run-??.good 2> /dev/null | wc -l)" = $n ] || bad=1
	return $bad
}

# in_turn NAME KERNEL LIST [FOLDER]: leaves NAME.rows, and NAME.good if it was
in_turn() {
	case $broken in
	*" $2 "*) rows "$2" "does not build" /dev/null "$3" > "$1.rows" ;;
	*)
		if MEMORY=${4:+3G} run_list "$2" "$3" "$4" > "$1.rows"; then
			echo > "$1.good"
		fi ;;
	esac
}

# One interface, one answer
compare_answers() {
	local mine=$cache/logs/patched-full.log log k bad=0
	for k in debug-full reference-reference; do
		log=$cache/logs/$k.log
		case "+ $* + $* +" in *" patched "*+*" ${k%-*} "*) ;; *) continue ;; esac
		if diff <(answers "$mine") <(answers "$log"); then
			echo "answers of patched and ${k%-*}: $(answers "$log" | wc -l), all equal"
		else
			echo "answers of patched (<) and ${k%-*} (>) differ"
			bad=1
		fi
	done
	return $bad
}

run_tests() {
	local bad=0
	run_all "$@" || bad=1
	head_of_table
	cat "$table"
	compare_answers "$@" || bad=1
	say "all of it took $SECONDS s"
	return $bad
}

smoke() {
	local bad=0
	build patched > /dev/null || return 1
	run_list patched "$here/tests/smoke.list" >> "$table" || bad=1
	head_of_table
	cat "$table"
	return $bad
}

# each.list has in front of each line the patches that it is for: 2-7
each() {
	local n bad=0 list=$work/each.list
	for n in $(seq "$(patches_of patched | wc -l)"); do
		awk -v n="$n" '/^[0-9]/ {
			split($1, range, "-")
			if (range[1] <= n && n <= range[2]) { sub(/^[^ ]* */, ""); print }
		}' "$here/tests/each.list" > "$list"
		run_list "patch-$n" "$list" >> "$table" || bad=1
	done
	head_of_table
	cat "$table"
	return $bad
}

# ---- mutants ----

# What noticed it: tests, and what the kernel said
noticed() {
	tr -d '\r' < "$1" | awk '
		/^not ok / { sub(/^not ok [0-9]+ /, ""); if (!seen[$0]++) tests = tests ", \"" $0 "\"" }
		/^# log: / && !kernel { sub(/^# log: (\[[^]]*\] *)?/, ""); kernel = substr($0, 1, 60) }
		# A kernel that stopped there had no time to say it in the log.
		/^(BUG: |Oops: |general protection fault)/ && !console { console = substr($0, 1, 60) }
		/^VERDICT/ { verdicts++ }
		END {
			out = substr(tests, 3)
			if (!kernel) kernel = console
			if (kernel) out = out (out ? "; " : "") kernel
			if (verdicts < 2) out = out (out ? "; " : "") "the machine did not get to the end"
			print out
		}'
}

# mutants/list: bug, kernel, delay ("late": pins to order), what must come of it (caught,
# survives, or clean: nothing fails, and pages of both sizes were put back), the tests
mutate() {
	local bug kernel slow must program rest log list result by bad=0 switches
	printf '%-4s %-9s %s\n' bug result 'the mistake: who noticed' > "$table"
	while read -r bug kernel slow must program rest <&3; do
		[ $# -eq 0 ] || case " $* " in *" $bug "*) ;; *) continue ;; esac
		list=$work/mutant-$bug.list
		echo "mutant 400 - RACE_SECONDS=${RACE_SECONDS:-5} /tests/$program ${rest%%#*}" > "$list"
		log=$cache/logs/mutant-$bug.log
		result=survived
		switches="uffd_move_bug=$bug uffd_move_slow=$slow"
		[ "$slow" != late ] || switches="uffd_move_bug=$bug uffd_move_late=1"
		boot "$kernel" "$list" "$log" "" "$switches" || result=caught
		by=$(noticed "$log")
		case $must-$result in
		clean-survived)
			result=clean
			grep -q 'small pages were put back' "$log" &&
				grep -q 'a huge page was put back' "$log" || result="UNPROVEN"
			;;
		caught-caught) [ -n "$by" ] || result="UNCLEAR" ;;
		survives-survived) ;;
		*) result="${result^^}!" ;;
		esac
		[ "$result" = "${result,,}" ] || bad=1
		printf '%-4s %-9s%s: %s\n' "$bug" "$result" "${rest##*#}" "${by:-nobody}" >> "$table"
	done 3< <(sed '/^#/d;/^$/d' "$here/mutants/list")
	cat "$table"
	return $bad
}

# ---- the rest ----

checkpatch() {
	local dir n
	dir=$(unpacked linux-source-6.1)
	for n in $(patches_of patched); do
		echo "== $(basename "$n")"
		perl "$dir/scripts/checkpatch.pl" --no-tree --strict --terse "$n" || true
	done
}

# bases: the names of the source packages
bases() { awk '!/^#/ && NF { print $1 }' "$here/BASE"; }

# is_listed BASE-NAME: whether the package lists that are here have its version. Of one
# that they do not have, apt-cache shows nothing, and says that all is well.
is_listed() { [ -n "$(apt-cache show "$1=$(field "$1" 2)" 2> /dev/null)" ]; }

# is_available BASE-NAME: whether it is here, unpacked or not, or in the package lists
is_available() { [ -d "$(tree_of "$1")" ] || fetched "$1" > /dev/null || is_listed "$1"; }

# unavailable: those that are not, because the lists are older than they
unavailable() {
	local n
	for n in $(bases); do
		is_available "$n" || echo "$n=$(field "$n" 2)"
	done
}

# missing [deb]: programs by name, packages by a file of theirs
missing() {
	local need more=
	[ "${1:-}" != deb ] || more="rsync:rsync kmod:kmod dpkg-buildpackage:dpkg-dev"
	for need in gcc:gcc make:make flex:flex bison:bison bc:bc cpio:cpio patch:patch perl:perl xz:xz-utils \
		qemu-system-x86_64:qemu-system-x86 $more; do
		command -v "${need%%:*}" > /dev/null 2>&1 || echo "${need#*:}"
	done
	echo '#include <libelf.h>' | gcc -E - > /dev/null 2>&1 || echo libelf-dev
	[ -z "$more" ] || echo '#include <openssl/opensslv.h>' | gcc -E - > /dev/null 2>&1 || echo libssl-dev
	[ "$(gcc -print-file-name=libc.a 2> /dev/null)" != libc.a ] || echo libc6-dev
	need=linux-source-6.1
	is_available "$need" || echo "$need=$(field "$need" 2)"
}

# Debian's configuration for the base, with what cannot be had outside of Debian
# (its keys) and what nobody needs (debug symbols) taken out
deb() {
	local tree build=$cache/build/deb config=$cache/packages/config.amd64.xz target=${1:-bindeb-pkg}
	local image
	lock patched
	tree=$(tree patched)
	if [ ! -f "$config" ]; then
		say "downloading linux-config-6.1"
		(
			cd "$cache/packages"
			apt-get download -qq linux-config-6.1 >&2
			dpkg-deb -x linux-config-6.1_*.deb unpacked
			mv unpacked/usr/src/linux-config-6.1/config.amd64_none_amd64.xz "$config"
			rm -rf unpacked linux-config-6.1_*.deb
		)
	fi
	mkdir -p "$build"
	xz -dc "$config" > "$build/.config"
	"$tree/scripts/config" --file "$build/.config" \
		--set-str SYSTEM_TRUSTED_KEYS "" --set-str SYSTEM_REVOCATION_KEYS "" \
		--disable MODULE_SIG --disable DEBUG_INFO --enable DEBUG_INFO_NONE \
		--disable DEBUG_INFO_BTF --disable DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT \
		--set-str LOCALVERSION -uffd-move
	make -C "$tree" O="$build" olddefconfig > /dev/null
	grep -qx CONFIG_USERFAULTFD=y "$build/.config" || die "the configuration has no userfaultfd"
	$slowly make -C "$tree" O="$build" -j"$jobs" KBUILD_BUILD_VERSION=1 "$target"
	[ "$target" = bindeb-pkg ] || return 0
	# The image in the newest package must boot and answer as the tested kernels do.
	# shellcheck disable=SC2012
	image=$(ls -t "$cache"/build/linux-image-*-uffd-move_*.deb | head -n 1)
	dpkg-deb --fsys-tarfile "$image" | tar -xO --wildcards './boot/vmlinuz-*' > "$work/vmlinuz"
	ls "$cache"/build/*.deb
	head_of_table
	run_list deb "$here/tests/deb.list"
}

main() {
	local command=${1:-} n log verdict=0
	[ $# -eq 0 ] || shift
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	table=$work/table
	broken=
	: > "$table"
	case $command in
	missing) missing "$@" ;;
	unavailable) unavailable ;;
	fetch) for n in $(bases); do tarball "$n"; done ;;
	apply)
		lock patched
		tree patched ;;
	build) build "${1:?which kernel}" ;;
	boot)
		log=$cache/logs/boot-$1-$(basename "${2:?which list}" .list).log
		MEMORY=${GUEST_PROGRAMS:+3G} boot "$1" "$2" "$log" "${GUEST_PROGRAMS:-}" "${3:-}" ||
			verdict=1
		cat "$log"
		return $verdict ;;
	test)
		[ $# -gt 0 ] || set -- stock patched debug reference ${GUEST_PROGRAMS:+host}
		run_tests "$@" ;;
	smoke) smoke ;;
	each) each ;;
	mutate) mutate "$@" ;;
	checkpatch) checkpatch ;;
	deb) deb "$@" ;;
	*) sed -n '5,21s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; return 2 ;;
	esac
}

# Read as a whole before anything runs: the file may change while kernels build.
main "$@"; exit
