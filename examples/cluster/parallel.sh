#!/usr/bin/env bash
# One source in N shards by GNU parallel: on this machine, or on those of a list of hosts. Run again, it completes what is missing.
#
#   parallel.sh SOURCE PLACES [SHARDS]      an index in the folder PLACES; those of the shards are kept in PLACES.shards
#   parallel.sh SOURCE qdrant://H/C [SHARDS]  straight into a collection, which `r2former index create` made
#
# JOBS: shards at a time (2). THREADS: threads of each (1). SSHLOGIN: hosts as parallel's --sshlogin takes them, 8/node1,8/node2; they
# see SOURCE and PLACES.shards under the same paths. CREATE: options of `r2former index create`, as --model FILE.
set -euo pipefail
export SOURCE=${1:?a source: folder, table or s3://BUCKET/PREFIX} PLACES=${2:?an index: folder or qdrant://HOST/COLLECTION}
export SHARDS=${3:-4} THREADS=${THREADS:-1} CREATE=${CREATE:-}
case $PLACES in
qdrant*) WORK=${PLACES##*/}.shards ;;
*) WORK=$PLACES.shards ;;
esac
export WORK
mkdir -p "$WORK"

shard() { # NUMBER
  local own=$PLACES
  if [ "${PLACES#qdrant}" = "$PLACES" ]; then
    own=$WORK/$1
    if [ ! -e "$own/manifest.json" ]; then
      rm -rf "$own"
      # shellcheck disable=SC2086
      r2former index create "$own" $CREATE
    fi
  fi
  # Exit code 3: done, and some photographs could not be used; the manifest names them.
  r2former index add "$own" "$SOURCE" --shard "$1/$SHARDS" --manifest "$WORK/$1.shard-$1-of-$SHARDS.json" --threads "$THREADS" || [ $? = 3 ]
}
export -f shard

parallel ${SSHLOGIN:+--sshlogin "$SSHLOGIN" --env shard --env SOURCE --env PLACES --env SHARDS --env THREADS --env CREATE --env WORK} \
  --jobs "${JOBS:-2}" --retries 3 --joblog "$WORK/log" --line-buffer --tag shard ::: $(seq 0 $((SHARDS - 1)))

r2former shards check "$WORK"
if [ "${PLACES#qdrant}" = "$PLACES" ]; then
  parts=()
  for ((i = 0; i < SHARDS; i++)); do parts+=("$WORK/$i"); done
  r2former index copy "${parts[@]}" "$PLACES"
fi
