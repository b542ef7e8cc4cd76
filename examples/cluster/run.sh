#!/bin/sh
# Starts a Redis server, two nodes, and a load balancer: examples/cluster/run.sh [ADDRESS]. Ends all of them with Ctrl+C.
set -eu
address=${1:-127.0.0.1:3000}
folder=$(mktemp -d)
children=

cleanup() {
    trap - EXIT INT TERM
    [ -z "$children" ] || kill $children 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

cargo build --quiet -p example-cluster --bins
binaries=${CARGO_TARGET_DIR:-target}/debug

# A socket in the file system cannot collide with another server.
redis-server --port 0 --unixsocket "$folder/redis" --save "" --dir "$folder" >"$folder/redis.log" &
children=$!
for _ in $(seq 100); do
    [ -S "$folder/redis" ] && break
    sleep 0.1
done

nodes=
for number in 1 2; do
    "$binaries/example-cluster" 127.0.0.1:0 "unix://$folder/redis" >"$folder/node$number" &
    children="$children $!"
    for _ in $(seq 100); do
        grep -q listening "$folder/node$number" && break
        sleep 0.1
    done
    nodes="$nodes $(sed -n 's#^listening on http://##p' "$folder/node$number")"
done
echo "nodes:$nodes"
# Each connection goes to the next node.
"$binaries/round-robin" "$address" $nodes
