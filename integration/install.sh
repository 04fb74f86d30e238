#!/bin/sh
# Installs the external servers that integration tests start, each once per
# version (component/versions.env), under $GRANARY_COMPONENTS or
# ~/.cache/granary/components. Nothing is installed outside that directory
# except what mvn, npm and go keep in their own caches; which registries those
# use is their configuration's business.
#
# usage: integration/install.sh [stage ...]     without a stage: all of them
set -eu

stages="dynamodb-local dynalite versitygw helm debian python-clients npm-clients crane regctl cosign nexus3-cli schemathesis rpm"

here=$(cd "$(dirname "$0")" && pwd)
. "$here/component/versions.env"
cache=${GRANARY_COMPONENTS:-${HOME:?install.sh: set HOME or GRANARY_COMPONENTS}/.cache/granary/components}
log=

fail() {
	echo "install.sh: $*" >&2
	exit 1
}

need() {
	command -v "$1" >/dev/null 2>&1 || fail "$stage needs $1, which is not on the PATH; install $2 and run this again."
}

# run CMD... keeps the output for the case that it fails. Most fetch something,
# which may fail by chance: it is tried three times.
run() {
	for pause in 5 30 0; do
		"$@" >"$log" 2>&1 </dev/null && return 0
		[ "$pause" -gt 0 ] || break
		echo "install.sh: $stage: \"$*\" failed, once more in $pause s." >&2
		sleep "$pause"
	done
	cat "$log" >&2
	fail "$stage: \"$*\" failed; its output is above."
}

# fresh makes the directory $work, to be moved to its place by keep when complete.
fresh() {
	work=$(mktemp -d "$cache/.install-XXXXXX") || fail "cannot write to $cache."
	log=$work/install.log
}

# keep DIR moves $work there; of two installations at once the first one stays.
keep() {
	rm -f "$log"
	[ -e "$1" ] || mv "$work" "$1" 2>/dev/null || [ -e "$1" ] || fail "$stage: cannot move $work to $1."
	rm -rf "$work"
	work=
}

install_dynamodb_local() {
	dir=$cache/dynamodb-local-$DYNAMODB_LOCAL
	source=$here/component/dynamodblocal/LoopbackServer.java
	need javac "a JDK of version 17 or later"
	if [ ! -d "$dir" ]; then
		need mvn "Maven"
		fresh
		cat >"$work/pom.xml" <<-POM
			<project>
			  <modelVersion>4.0.0</modelVersion>
			  <groupId>granary</groupId><artifactId>components</artifactId><version>1</version>
			  <dependencies><dependency>
			    <groupId>com.amazonaws</groupId><artifactId>DynamoDBLocal</artifactId><version>$DYNAMODB_LOCAL</version>
			  </dependency></dependencies>
			</project>
		POM
		run mvn -B -q -f "$work/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$work/lib" -DincludeScope=runtime
		[ -e "$work/lib/DynamoDBLocal-$DYNAMODB_LOCAL.jar" ] || fail "$stage: Maven left no DynamoDBLocal-$DYNAMODB_LOCAL.jar behind."
		keep "$dir"
	fi
	# The wrapper is ours and may change under the same version.
	if ! cmp -s "$source" "$dir/classes/LoopbackServer.java"; then
		fresh
		run javac -nowarn -cp "$dir/lib/*" -d "$work" "$source"
		cp "$source" "$work/"
		rm -rf "$dir/classes"
		keep "$dir/classes"
	fi
}

install_dynalite() {
	dir=$cache/dynalite-$DYNALITE
	if [ ! -d "$dir" ]; then
		need npm "Node.js 20 or later"
		fresh
		run npm install --prefix "$work" --no-audit --no-fund --loglevel=error "dynalite@$DYNALITE"
		[ -e "$work/node_modules/dynalite/cli.js" ] || fail "$stage: npm left no dynalite/cli.js behind."
		keep "$dir"
	fi
}

install_versitygw() {
	dir=$cache/versitygw-$VERSITYGW
	if [ ! -d "$dir" ]; then
		need go "Go"
		fresh
		run env "GOBIN=$work" GOFLAGS= go install "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW"
		[ -x "$work/versitygw" ] || fail "$stage: go left no versitygw behind."
		keep "$dir"
	fi
}

install_crane() {
	dir=$cache/crane-$CRANE
	if [ ! -d "$dir" ]; then
		need go "Go"
		fresh
		run env "GOBIN=$work" GOFLAGS= go install "github.com/google/go-containerregistry/cmd/crane@$CRANE"
		[ -x "$work/crane" ] || fail "$stage: go left no crane behind."
		keep "$dir"
	fi
}

# install_go NAME VERSION PACKAGE builds a client that is one Go program.
install_go() {
	dir=$cache/$1-$2
	if [ ! -d "$dir" ]; then
		need go "Go"
		fresh
		run env "GOBIN=$work" GOFLAGS= CGO_ENABLED=0 go install "$3@$2"
		[ -x "$work/$1" ] || fail "$stage: go left no $1 behind."
		keep "$dir"
	fi
}

install_regctl() { install_go regctl "$REGCTL" github.com/regclient/regclient/cmd/regctl; }

install_cosign() { install_go cosign "$COSIGN" github.com/sigstore/cosign/v2/cmd/cosign; }

# install_python PACKAGE VERSION makes an environment of its own for a client
# that is a Python package.
install_python() {
	dir=$cache/$1-$2
	if [ ! -d "$dir" ]; then
		need python3 "Python 3.10 or later with venv"
		fresh
		rmdir "$work" 2>/dev/null || rm -rf "$work"
		log=$cache/.install-$$.log
		# Scripts name the place that they were made at: no move afterwards.
		run python3 -m venv "$dir.new-$$"
		run "$dir.new-$$/bin/python" -m pip install -q --disable-pip-version-check "$1==$2"
		rm -f "$log"
		sed -i "s|$dir.new-$$|$dir|g" "$dir.new-$$"/bin/* 2>/dev/null || true
		mv "$dir.new-$$" "$dir" 2>/dev/null || rm -rf "$dir.new-$$"
		[ -d "$dir" ] || fail "$stage: cannot make $dir."
		work=
	fi
}

install_nexus3_cli() { install_python nexus3-cli "$NEXUS3_CLI"; }

install_schemathesis() { install_python schemathesis "$SCHEMATHESIS"; }

# Programs of the distribution, where there is one that can be asked.
install_debian() {
	dir="what the distribution has"
	missing=
	PATH=$PATH:/usr/sbin
	for pair in slapd:slapd gpgv:gpgv xz:xz-utils dpkg-deb:dpkg dpkg-source:dpkg-dev skopeo:skopeo buildah:buildah podman:podman \
		dockerd:docker.io docker:docker.io containerd:containerd iptables:iptables debootstrap:debootstrap wget:wget reprepro:reprepro gpg:gpg; do
		command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
	done
	[ -n "$missing" ] || return 0
	need apt-get "$missing"
	fresh
	run apt-get -o DPkg::Lock::Timeout=400 update -q
	# shellcheck disable=SC2086 # several names
	run apt-get -o DPkg::Lock::Timeout=400 install -y -q --no-install-recommends $missing
	rm -rf "$work"
	work=
}

# dnf and its like, where the distribution has them. zypper can't be beside
# dnf-plugins-core: where that is, this fails instead of removing it.
install_rpm() {
	dir="what the distribution has"
	missing=
	for pair in dnf:dnf rpm:rpm rpmbuild:rpm createrepo_c:createrepo-c sqlite3:sqlite3 zypper:zypper; do
		command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
	done
	[ -n "$missing" ] || return 0
	need apt-get "$missing"
	fresh
	run apt-get -o DPkg::Lock::Timeout=400 update -q
	# shellcheck disable=SC2086 # several names
	run apt-get -o DPkg::Lock::Timeout=400 install -y -q --no-remove --no-install-recommends $missing
	rm -rf "$work"
	work=
}

install_helm() {
	dir=$cache/helm-$HELM
	if [ ! -d "$dir" ]; then
		need go "Go"
		fresh
		run env "GOBIN=$work" GOFLAGS= CGO_ENABLED=0 go install "helm.sh/helm/v3/cmd/helm@$HELM"
		[ -x "$work/helm" ] || fail "$stage: go left no helm behind."
		keep "$dir"
	fi
}

install_python_clients() {
	dir=$cache/python-clients-$PYTHON_CLIENTS
	if [ ! -d "$dir" ]; then
		need python3 "Python 3.10 or later with its venv module"
		fresh
		run python3 -m venv "$work"
		# The programs are run as modules: scripts would name this directory.
		run "$work/bin/python" -m pip install --disable-pip-version-check \
			"pip==$PIP" "twine==$TWINE" "uv==$UV" "poetry==$POETRY" "flit==$FLIT" "flit_core==$FLIT"
		[ -x "$work/bin/uv" ] || fail "$stage: pip left no uv behind."
		keep "$dir"
	fi
}

install_npm_clients() {
	dir=$cache/npm-clients-$NPM_CLIENTS
	if [ ! -d "$dir" ]; then
		need npm "Node.js 20 or later"
		fresh
		run npm install --prefix "$work" --no-audit --no-fund --loglevel=error \
			"npm@$NPM" "pnpm@$PNPM" "yarn@$YARN" "@yarnpkg/cli-dist@$YARN_BERRY"
		[ -e "$work/node_modules/@yarnpkg/cli-dist/bin/yarn.js" ] || fail "$stage: npm left no @yarnpkg/cli-dist behind."
		keep "$dir"
	fi
}

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$cache" || fail "cannot make $cache."

[ $# -gt 0 ] || set -- $stages
for stage; do
	case " $stages " in
	*" $stage "*) ;;
	*) fail "there is no stage \"$stage\"; the stages are: $stages." ;;
	esac
	"install_$(echo "$stage" | tr - _)"
	echo "$stage: $dir"
done
