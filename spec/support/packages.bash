# What spec/support/provision and tests/bench/provision share: packages of this system, and packages of other releases
# unpacked under target/. Source it with `set -euo pipefail`: it goes to the top of the repository and sets `top`.
#
# Only `need` installs anything. A package of another release of the distribution comes from the same mirror as the
# system's own. A separate apt state under target/apt keeps the system's lists as they are.
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
top=$PWD

# Two scripts at once would unpack into the same folder: each takes its turn.
mkdir -p target
exec 9>target/.provision.lock
flock 9

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- packages of this system --------------------------------------------------------------------------------------

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_quietly() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" \
		</dev/null >target/apt.log 2>&1
}

# need PACKAGE...: installs those that are missing.
need() {
	local package missing=()
	for package; do
		installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} = 0 ] && return
	command -v apt-get >/dev/null ||
		die "Missing: ${missing[*]}. Only apt can install them here: install the like by hand."
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
		die "Missing: ${missing[*]}. There is no sudo here: run as root 'apt-get install ${missing[*]}'."
	fi
	say "Installing ${missing[*]} ..."
	apt_quietly install -y --no-install-recommends "${missing[@]}" && return
	# The lists may be old, or absent as on a new machine.
	apt_quietly update && apt_quietly install -y --no-install-recommends "${missing[@]}" && return
	die "Missing: ${missing[*]}. apt-get cannot install them (see target/apt.log):" \
		"check the network and apt's sources."
}

# --- packages of another release, unpacked under target/ ----------------------------------------------------------

distribution() { (. /etc/os-release; echo "${ID:-}"); }
codename() { (. /etc/os-release; echo "${VERSION_CODENAME:-}"); }

# Prints the address of the mirror that this system's own release comes from.
mirror() {
	apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(REPO_URI)' 2>/dev/null | awk -v release="$(codename)" '
		$1 != "Packages" { next }
		$2 == release { print $3; found = 1; exit }
		!other && $2 !~ /security|backports|updates/ { other = $3 }
		END { if (!found && other) print other }'
}

# archive "SUITE..." COMMAND...: runs an apt command that knows these suites and takes no package as installed.
archive() {
	local suites=$1 dir="$top/target/apt/${1// /+}"
	shift
	"$1" -o Dir::Etc::SourceList="$dir/sources" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$dir/lists" \
		-o Dir::Cache="$dir/cache" -o Dir::State::Status="$dir/status" -o Acquire::Languages=none \
		-o Acquire::Retries=3 -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "${@:2}" </dev/null
}

# archive_open "SUITE...": fetches the lists of these suites, at most once a day. Fails if the mirror lacks one.
archive_open() {
	local dir="$top/target/apt/${1// /+}" uri suite components=main keyring
	[ -n "$(find "$dir/open" -mmin -1440 2>/dev/null)" ] && return
	uri=$(mirror)
	[ -n "$uri" ] || die "apt has no source for $(codename): restore the system's sources, packages come from there."
	[ "$(distribution)" = ubuntu ] && components="main universe"
	keyring=/usr/share/keyrings/$(distribution)-archive-keyring.gpg
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	: >"$dir/status"
	for suite in $1; do
		echo "deb [target=Packages$([ -e "$keyring" ] && echo " signed-by=$keyring")] $uri $suite $components"
	done >"$dir/sources"
	archive "$1" apt-get -qq -o APT::Update::Error-Mode=any update >"$dir/log" 2>&1 || return 1
	touch "$dir/open"
}

# archive_unpack "SUITE..." DIR PACKAGE...
archive_unpack() {
	local suites=$1 into=$2 debs
	shift 2
	debs=$(mktemp -d "$top/target/apt/debs.XXXXXX")
	(cd "$debs" && archive "$suites" apt-get -qq download "$@") >"$top/target/apt/log" 2>&1 ||
		{ rm -rf "$debs"; return 1; }
	mkdir -p "$into"
	for deb in "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$into"
	done
	rm -rf "$debs"
}

# archive_closure "SUITE..." PACKAGE: what an installation on an empty system would bring, as "name=version".
archive_closure() {
	archive "$1" apt-get -s -t "${1##* }" --no-install-recommends install "$2" 2>/dev/null |
		sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*/\1=\2/p'
}

missing_libraries() {
	find "$1" -type f \( -name '*.so' -o -perm -u+x \) -exec env LD_LIBRARY_PATH="$2" ldd {} + 2>/dev/null |
		sed -nE 's/^[[:space:]]*(\S+) => not found$/\1/p' | sort -u
}

# unpack_libraries "SUITE..." ROOT LIBS PACKAGE: puts into LIBS the shared libraries that the binaries below ROOT want
# and this system lacks. Only these: an older copy of one that the system has would break the system's own programs.
unpack_libraries() {
	local suites=$1 root=$2 libs=$3 package=$4 candidate wanted tmp
	[ -n "$(missing_libraries "$root" "$libs")" ] || return 0
	# From the last to be installed to the first: a library that comes in may want others.
	for candidate in $(archive_closure "$suites" "$package" | grep '^lib' | tac); do
		installed "${candidate%%=*}" && continue
		tmp=$(mktemp -d "$top/target/apt/libs.XXXXXX")
		archive_unpack "$suites" "$tmp" "$candidate" || true
		for wanted in $(missing_libraries "$root" "$libs"); do
			if [ -n "$(find "$tmp" -name "$wanted")" ]; then
				mkdir -p "$libs"
				find "$tmp" -name '*.so.*' -exec cp -a {} "$libs/" \;
			fi
		done
		rm -rf "$tmp"
	done
	[ -z "$(missing_libraries "$root" "$libs")" ]
}

# library_path LIBS: an assignment for a start script, with which programs find these libraries first.
library_path() {
	# shellcheck disable=SC2016
	printf 'LD_LIBRARY_PATH="%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"' "$1"
}
