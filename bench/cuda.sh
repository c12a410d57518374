#!/usr/bin/env bash
# Measures, tests and compares on a GPU, for bench/results/cuda.md.
#   bench/cuda.sh pack FOLDER               publishes xds and the tests that want a GPU, .NET included, into a folder within the repository
#   bench/cuda.sh run FOLDER LOGS PART...   runs parts of: kernels steps peers tests memcheck racecheck, one after the other
# A command's output is LOGS/PART.NAME.log, its last line the exit code and the seconds; a test that skipped everything counts as failed.
# CUDA_VISIBLE_DEVICES chooses the GPU. Python's torch, where there is one, gives the libraries that are not on the library path.
set -uo pipefail
cd "$(dirname "$0")/.."
shapes=bench/shapes

pack() {
  for project in src/Cli tests/Kernels.Tests tests/Models.Tests tests/Transformerless.Tests; do
    dotnet publish "$project" -c Release -r linux-x64 --self-contained -o "$1" -v q || return 1
  done
  find "$1" \( -name '*.pdb' -o -name '*.xml' \) -delete
  rm -rf "$1/models" # the repository has them
}

log() { # NAME COMMAND...
  local file="$logs/$1.log" begun=$SECONDS code
  shift
  "$@" >"$file" 2>&1
  code=$?
  echo "exit code $code after $((SECONDS - begun)) s" >>"$file"
  echo "== $(basename "$file" .log): $(tail -1 "$file")"
  grep -E '^ +(total|failed|succeeded|skipped):|^========= (ERROR|RACECHECK) SUMMARY|median .* a step' "$file"
  [ $code = 0 ] && ! grep -qE '^ +succeeded: 0' "$file"
}

steps() { # SHAPE REQUESTS INPUT OUTPUT
  log "steps.$1.$2" "$folder/xds" bench latency --device cuda --load-format dummy --skip-tokenizer-init --model "$shapes/$1" --batch-size "$2" \
    --input-len "$3" --output-len "$4" --num-iters-warmup 1 --num-iters "$([ "$2" = 1 ] && echo 5 || echo 1)" || failed=1
  cat "$logs/steps.$1.$2.log"
}

classes() { # PART [TOOL...]: each class a process of its own, all at once
  local part=$1 class waiting=()
  shift
  for class in Kernels:CudaAttentionTests Kernels:CudaProductTests Kernels:CudaChoosingTests Kernels:CudaRowTests Models:CudaTests Transformerless:GpuTests; do
    log "$part.${class#*:}" "$@" "$folder/XDeepServe.${class%:*}.Tests" --filter-class "*.${class#*:}" &
    waiting+=($!)
  done
  for class in "${waiting[@]}"; do wait "$class" || failed=1; done
}

run() {
  folder=$1 logs=$2 failed=0
  shift 2
  mkdir -p "$logs"
  local torch
  if torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2>/dev/null); then
    LD_LIBRARY_PATH="$torch/lib:$(printf '%s:' "$torch"/../nvidia/*/lib)${LD_LIBRARY_PATH:-}"
  fi
  export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}" DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
  log gpu nvidia-smi || failed=1
  for part in "$@"; do
    case "$part" in
      kernels) log kernels "$folder/xds" bench kernels --device cuda --num-iters 7 || failed=1; cat "$logs/kernels.log" ;;
      steps) steps qwen3-30b-a3b 1 512 128; steps deepseek-v2-lite 1 512 128; steps qwen3-30b-a3b 10 2048 1024; steps deepseek-v2-lite 10 2048 512 ;;
      peers)
        for shape in deepseek-v2-lite qwen3-30b-a3b; do
          log "peers.$shape" python3 bench/transformers_shapes.py "$shapes/$shape" --batch 1 10 --context 512 2048 --compile || failed=1
        done ;;
      tests) classes tests ;;
      memcheck | racecheck) XDS_CUDA_SMALL=1 classes "$part" compute-sanitizer --tool "$part" --error-exitcode 9 ;;
      *) echo "'$part' is none of kernels, steps, peers, tests, memcheck, racecheck."; return 2 ;;
    esac
  done
  return $failed
}

if [ "${1:-}" = pack ] && [ $# = 2 ]; then
  pack "$2"
elif [ "${1:-}" = run ] && [ $# -ge 4 ]; then
  run "${@:2}"
else
  sed -n '2,6s/^# //p' "$0"
  exit 2
fi
