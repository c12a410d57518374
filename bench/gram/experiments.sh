#!/bin/bash
# GRAM beside other reward models, on one GPU: experiments.sh PART TRAINER DATA BASES OUT LIBTORCH
#   base NAME    a language model pre-trained here, into BASES: clean (the shape of BASES/nano, documentation alone) or deep (BASES/shape-deep of deepen.py goes on with documentation and replies)
#   rates        learning rates of both kinds of model, by the validation prompts, into OUT/rates
#   table BASE   kinds of model from that base (ROWS), SEEDS of them (1 2 3); plain, even, mixed and both go on from gram's first stage: run them after it
#   adapt        the models of base nano (KINDS), taught harmlessness with 50 to 2,000 labels; judge-both and gram-both see each pair in both orders
# DATA is the folder that the program beside this file wrote, with docs.jsonl.gz of corpus.py. PARALLEL runs go at once (3); of five on a GPU of 80 GB some find no
# memory: a run that fails is tried again, three times in all. A run that is there is not made again.
set -uo pipefail
part=$1; shift
case $part in base | table) base=$1; shift ;; esac
export trainer=$1 data=$2 bases=$3 out=$4 libtorch=$5
mkdir -p "$out"
export tests="--test_data pairs=$data/alpaca.jsonl.gz pairs=$data/pandalm.jsonl.gz hhh=$data/hhh_alignment.jsonl.gz judgebench=$data/judgebench.jsonl.gz rm-bench=$data/rm_bench.jsonl.gz pairs=$data/harmless-test.jsonl.gz best-of-n=$data/best-of-16.jsonl.gz"
tests+=" pairs=$data/validation.jsonl.gz" # what to keep is chosen by it
smooth="--label_smoothing 0.1 --smoothing_form pytorch"

run() { # NAME STAGE ARGUMENTS...: into OUT/NAME
  [ ! -f "$out/$1/done" ] || return 0
  local begun=$SECONDS try
  for try in 1 2 3; do
    if "$trainer" "${@:2}" --output_dir "$out/$1" --libtorch "$libtorch" --device cuda --bf16 true --save_steps 1000000 --save_total_limit 1 --logging_steps 20 --per_device_eval_batch_size 32 >"$out/$1.log" 2>&1; then
      rm -rf "$out/$1"/checkpoint-*
      touch "$out/$1/done"
      echo "$1: $((SECONDS - begun)) s"
      return
    fi
    echo "$1 failed: $(tail -1 "$out/$1.log")"
    rm -rf "${out:?}/$1"
  done
}

made() { # SEED: into DATA, each answer of unlabelled as a conversation, replies.jsonl, and 10,300 labelled pairs and all harmless ones in random order, mixed-SEED.jsonl
  python3 - "$data" "$1" <<'P'
import gzip, json, random, sys
data, seed = sys.argv[1:]
unlabelled, train, harmless = (gzip.open(f"{data}/{name}.jsonl.gz", "rt", encoding="utf-8").readlines() for name in ("unlabelled", "train", "harmless-train"))
with open(f"{data}/replies.jsonl", "w", encoding="utf-8") as out:
    for row in map(json.loads, unlabelled):
        for answer in row["responses"]:
            out.write(json.dumps({"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": answer}]}, ensure_ascii=False) + "\n")
draw = random.Random(int(seed))
rows = draw.sample(train, min(10300, len(train))) + harmless
draw.shuffle(rows)
open(f"{data}/mixed-{seed}.jsonl", "w", encoding="utf-8").writelines(rows)
P
}

best() { # KIND: the learning rate with the highest accuracy on the validation prompts
  python3 - "$out" "$1" <<'P'
import json, pathlib, sys
runs = [(json.loads(line)["accuracy"], path.parent.name.removeprefix(f"rates-{sys.argv[2]}-")) for path in pathlib.Path(sys.argv[1]).glob(f"rates-{sys.argv[2]}-*/test.jsonl") for line in open(path)]
print(max(runs)[1])
P
}
export -f run

case $part in
base)
  made 1
  case $base in
    clean) kind="--from_scratch true --model_name_or_path $bases/shape-nano --train_data $data/docs.jsonl.gz --learning_rate 1e-3 --num_train_epochs 2" ;;
    deep) kind="--model_name_or_path $bases/shape-deep --train_data $data/docs.jsonl.gz $data/replies.jsonl --learning_rate 5e-4 --max_samples 32000" ;;
  esac
  echo "run $base pretrain $kind --max_length 1024 --per_device_train_batch_size 32 --gradient_accumulation_steps 2 --warmup_ratio 0.03 --weight_decay 0.1 --seed 1; mv $out/$base/final $bases/$base" | xargs -I{} bash -c '{}' ;;
rates)
  for rate in 5e-5 2e-4; do
    for stage in gram bt; do
      echo "run rates-$stage-$rate $stage --model_name_or_path $bases/nano --train_data $data/train.jsonl.gz --max_samples 12000 --max_length 2048 --per_device_train_batch_size 32 --learning_rate $rate --seed 1 --test_data pairs=$data/validation.jsonl.gz"
    done
  done | xargs -P "${PARALLEL:-3}" -I{} bash -c '{}; rm -rf $out/rates-*/final'
  echo "gram $(best gram) bt $(best bt)" | tee "$out/rates" ;;
table)
  read -r _ judging _ scoring <"$out/rates"
  most="--max_samples 12000"
  batch=16; [ "$base" != deep ] || batch=8
  steps="--max_length 2048 --per_device_train_batch_size $batch --gradient_accumulation_steps $((32 / batch))" # of 32
  own="--train_data $data/train.jsonl.gz $most $steps" even="--train_data $data/train-balanced.jsonl.gz $steps"
  learn() { # NAME STAGE MODEL ARGUMENTS...: what is adapted, tuned further or published is kept
    echo -n "run $base-$1-$seed $2 --model_name_or_path $3 $4 --seed $seed; "
    case $base-$1 in nano-bt | nano-judge | nano-gram | nano-even | nano-more | nano-mixed | nano-both | *-first*) ;; *) echo -n "rm -rf $out/$base-$1-$seed/final; " ;; esac
  }
  for seed in ${SEEDS:-1 2 3}; do
    first=$out/$base-first-$seed/final more=$out/$base-first-more-$seed/final
    for row in ${ROWS:-bt judge gram smooth}; do # a line is one chain of runs
      case $row in
        bt) learn bt bt "$bases/$base" "$own --learning_rate $scoring $tests" ;;
        smooth) learn smooth bt "$bases/$base" "$own --learning_rate $scoring $smooth $tests" ;;
        judge) learn judge gram "$bases/$base" "$own --learning_rate $judging $smooth $tests" ;;
        gram) # both stages
          learn first gram-pretrain "$bases/$base" "--train_data $data/unlabelled.jsonl.gz $most $steps --learning_rate 3e-4"
          learn gram gram "$first" "$own --learning_rate $judging $smooth $tests" ;;
        plain) learn plain gram "$first" "$own --learning_rate $judging $tests" ;; # without smoothing; behind gram
        more) # four times as much of the first stage
          learn first-more gram-pretrain "$bases/$base" "--train_data $data/unlabelled.jsonl.gz --num_train_epochs 3 $steps --learning_rate 3e-4"
          learn more gram "$more" "$own --learning_rate $judging $smooth $tests" ;;
        both) learn both gram "$first" "$own --both_orders true --learning_rate $judging $smooth $tests" ;; # each pair in both orders: twice the steps; behind gram
        mixed) # the harmless pairs among the labelled ones; behind gram
          made "$seed"
          learn mixed gram "$first" "--train_data $data/mixed-$seed.jsonl $steps --learning_rate $judging $smooth $tests" ;;
        even) # as many pairs whose better answer is longer as shorter; behind gram
          learn even gram "$first" "$even --num_train_epochs 2 --learning_rate $judging $smooth $tests" ;;
        even-judge) learn even-judge gram "$bases/$base" "$even --num_train_epochs 2 --learning_rate $judging $smooth $tests" ;;
        even-bt) learn even-bt bt "$bases/$base" "$even --num_train_epochs 2 --learning_rate $scoring $tests" ;;
      esac
      echo
    done
  done | xargs -P "${PARALLEL:-3}" -I{} bash -c '{}' ;;
adapt)
  for seed in ${SEEDS:-1 2 3}; do
    for kind in ${KINDS:-bt judge gram judge-both gram-both}; do
      stage=gram; [ $kind != bt ] || stage=bt
      orders=; [ $kind = ${kind%-both} ] || orders="--both_orders true"
      for labels in 50 200 500 1000 2000; do
        echo "run adapt-$kind-$labels-$seed $stage --model_name_or_path $out/nano-${kind%-both}-$seed/final $orders --train_data $data/harmless-train.jsonl.gz --max_samples $labels --max_length 2048 --per_device_train_batch_size 16 --learning_rate 5e-5 --num_train_epochs 2 --seed $seed --test_data pairs=$data/harmless-test.jsonl.gz hhh=$data/hhh_alignment.jsonl.gz; rm -rf $out/adapt-$kind-$labels-$seed/final"
      done
    done
  done | xargs -P "${PARALLEL:-4}" -I{} bash -c '{}' ;;
esac
for folder in "$out"/*/; do [ -f "$folder/test.jsonl" ] && sed "s#^{#{\"name\":\"$(basename "$folder")\",#" "$folder/test.jsonl"; done >"$out/lines.jsonl"
