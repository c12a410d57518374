#!/bin/bash
# LRHP's trainings: lrhp.sh models|runs TRAINER DATA BASE JUDGE OUT [LIBTORCH]
#   models  the representation, and the scalar model that predicts margins beside it
#   runs    (behind lrhp.py select) Bradley-Terry and GRAM (STAGES) on the targets and what was selected for them, SEEDS of them (1 2 3)
# DATA is the folder that bench/gram wrote, BASE a language model, JUDGE a trained judge to adapt; PARALLEL says how many run at once.
set -uo pipefail
export part=$1 trainer=$2 data=$3 base=$4 judge=$5 out=$6 libtorch=${7:-}
export common="--bf16 true --save_steps 1000000 --logging_steps 20 ${libtorch:+--libtorch $libtorch --device cuda}"
mkdir -p "$out"

train() { # name, then the trainer's arguments; a run that is done is not run again
  [ -f "$out/$1/done" ] || "$trainer" "${@:2}" --output_dir "$out/$1" $common >"$out/$1.log" 2>&1 || { echo "$1 failed: $(tail -1 "$out/$1.log")"; return; }
  rm -rf "$out/$1"/checkpoint-*
  [ "$part" = models ] || rm -rf "$out/$1/final"
  touch "$out/$1/done"
  tail -1 "$out/$1/test.jsonl"
}
export -f train

if [ "$part" = models ]; then
  for stage in lrhp bt; do
    train "${stage/bt/lrhp-bt}" $stage --model_name_or_path "$base" --train_data "$data/lrhp-train.jsonl.gz" --learning_rate 1e-4 --num_train_epochs 2 --max_length 1024 \
      --per_device_train_batch_size 16 --gradient_accumulation_steps 2 --seed 1 --test_data pairs="$data/validation.jsonl.gz" pairs="$data/lrhp-test.jsonl.gz" &
  done
  wait
  exit
fi

for stage in ${STAGES:-bt gram}; do
  for seed in ${SEEDS:-1 2 3}; do
    for choice in targets-0 {pds,embedding,random}-{250,500,1000} all-3000; do
      case $choice in
        targets-0) chosen= ;;
        all-3000) chosen=$data/lrhp-pool.jsonl.gz ;;
        random-*) chosen=$data/lrhp/$choice-$seed.jsonl ;;
        *) chosen=$data/lrhp/$choice.jsonl ;;
      esac
      if [ $stage = bt ]; then own="--model_name_or_path $base --learning_rate 1e-4"; else own="--model_name_or_path $judge --learning_rate 5e-5 --label_smoothing 0.1 --smoothing_form pytorch"; fi
      echo "train $stage-$choice-$seed $stage $own --train_data $data/lrhp-targets.jsonl.gz $chosen --num_train_epochs 2 --max_length 1024 --per_device_train_batch_size 16 --seed $seed --test_data pairs=$data/lrhp-test.jsonl.gz"
    done
  done
done | xargs -P "${PARALLEL:-3}" -I{} bash -c '{}'
cat "$out"/{bt,gram}-*/test.jsonl >"$out/lines.jsonl"
