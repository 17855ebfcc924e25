#!/usr/bin/env bash
# Runs the cluster of compose.yaml, kills a node, writes, brings the node back
# and checks that everything is there. The image is built from binaries that are
# compiled here, so no registry is needed. Whatever happens, nothing stays
# behind.
#
#   PROJECT                    name of containers, volumes and image
#   NODE_1_PORT, _2_, _3_      ports on the loopback interface; 0, the default,
#                              takes free ones
#   WAIT                       seconds to wait for any one thing, default 60
set -euo pipefail
cd "$(dirname "$0")/.."

if ! docker info >/dev/null 2>&1; then
	echo "skipped: no Docker engine"
	exit 0
fi
if docker compose version >/dev/null 2>&1; then
	compose="docker compose"
elif docker-compose version >/dev/null 2>&1; then
	compose="docker-compose"
else
	echo "compose_test: there is a Docker engine, but neither docker compose nor docker-compose: install one" >&2
	exit 1
fi

project=${PROJECT:-clusterkit-test-$$}
wait=${WAIT:-60}
export KVNODE_IMAGE=$project PARTITION_COUNT=16 REPLICATION_FACTOR=3 MIN_IN_SYNC=2
export NODE_1_PORT=${NODE_1_PORT:-0} NODE_2_PORT=${NODE_2_PORT:-0} NODE_3_PORT=${NODE_3_PORT:-0}
nodes="node-1 node-2 node-3"
compose="$compose -p $project -f docker/compose.yaml"
dir=$(mktemp -d)

say() { echo "compose_test: $*"; }

finish() {
	status=$?
	trap - EXIT
	if [ "$status" -ne 0 ]; then
		say "failed; the cluster said:"
		$compose logs --no-color --tail=40 || true
	fi
	$compose down -v --remove-orphans >"$dir/down" 2>&1 || cat "$dir/down"
	docker rmi -f "$KVNODE_IMAGE" >/dev/null 2>&1 || true
	rm -rf "$dir"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# endpoints prints where the given nodes can be reached from here. A port that
# was chosen freely changes when a container starts again.
endpoints() {
	local list=
	for node in "$@"; do
		list=$list,$($compose port "$node" 8080)
	done
	echo "${list#,}"
}

kvctl() { bin/kvctl --timeout "${wait}s" "$@"; }

# put writes a key. Writing it again is harmless, so it does that if the outcome
# of the first attempt is unknown, which is exit code 7.
put() {
	kvctl set "$1" "$2" && return
	[ $? -eq 7 ] && kvctl set "$1" "$2"
}

expect() {
	local got
	got=$(kvctl get "$1")
	if [ "$got" != "$2" ]; then
		say "$1 is '$got', want '$2'"
		return 1
	fi
}

# in_sync succeeds when all nodes live and every partition has three copies in
# sync.
in_sync() {
	bin/kvctl cluster status >"$dir/status" 2>&1 || return 1
	[ "$(grep -c '^node-[123] .* yes ' "$dir/status")" -eq 3 ] &&
		grep -q '^Partitions: 16 healthy, 0 under-replicated, 0 unavailable$' "$dir/status"
}

await_in_sync() {
	local deadline=$((SECONDS + wait))
	until in_sync; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			say "after $wait s the cluster is not in sync:"
			cat "$dir/status"
			return 1
		fi
		sleep 0.5
	done
}

say "build"
mkdir -p "$dir/context/image/data"
cp LICENSE "$dir/context/"
CGO_ENABLED=0 GOOS=linux GOARCH=$(docker version --format '{{.Server.Arch}}') \
	go build -trimpath -o "$dir/context/image/" ./cmd/kvnode ./cmd/kvctl
go build -o bin/kvctl ./cmd/kvctl
docker build --target host -t "$KVNODE_IMAGE" -f docker/Dockerfile "$dir/context" >"$dir/build" 2>&1 ||
	{ cat "$dir/build"; exit 1; }

say "start three nodes"
$compose up -d --no-build >"$dir/up" 2>&1 || { cat "$dir/up"; exit 1; }
KVCTL_ENDPOINTS=$(endpoints $nodes)
export KVCTL_ENDPOINTS
await_in_sync

say "write and read from the host"
for i in {1..20}; do put "key-$i" "first $i"; done
for i in {1..20}; do expect "key-$i" "first $i"; done

say "kill node-1, read, and write on"
node_1=$($compose ps -q node-1)
docker kill "$node_1" >/dev/null
KVCTL_ENDPOINTS=$(endpoints node-2 node-3)
for i in {1..20}; do expect "key-$i" "first $i"; done
for i in {11..30}; do put "key-$i" "second $i"; done

say "start node-1 again"
docker start "$node_1" >/dev/null
KVCTL_ENDPOINTS=$(endpoints $nodes)
await_in_sync

say "read everything through each node"
for node in $nodes; do
	KVCTL_ENDPOINTS=$(endpoints "$node")
	for i in {1..10}; do expect "key-$i" "first $i"; done
	for i in {11..30}; do expect "key-$i" "second $i"; done
done

say "passed: nothing was lost"
