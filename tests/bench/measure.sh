#!/bin/bash
# Measures what a page about speed needs: records of uvic-bench and its peers, then the benchmarks of the ops.
#
#   tests/bench/measure.sh BUILD OUT       from the repository's root; some 15 minutes on an idle machine
#   PYTHON=venv/bin/python                 one with torch and openvino
#   INCEPTION=weights.safetensors          an InceptionV3; without it, features are left out
#   AUTOENCODER=autoencoder_kl.pth         likewise, for encoding and decoding
#   ALONE="taskset -c 0,1"                 put before each command
set -e
build=$1 out=$2 python=${PYTHON:-python3} bench="$ALONE $1/bin/uvic-bench"
torch="--compare=$python tests/bench/uvic_torch.py" openvino="--compare=$python tests/bench/uvic_openvino.py"
mkdir -p "$out"

part() {  # NAME ARGUMENTS...: records into OUT/NAME.jsonl, a table into OUT/NAME.md; a part that exists is kept
  local name=$1
  shift
  [ -e "$out/$name.jsonl" ] && return
  echo "$name" >&2
  $bench "$@" > "$out/$name.part"
  grep '^{' "$out/$name.part" > "$out/$name.jsonl"
  grep '^|' "$out/$name.part" > "$out/$name.md" || rm "$out/$name.md"
  rm "$out/$name.part"
}

part train_eager train --batch 16 --seconds 1 "$torch" --table
part train_compiled train --batch 16 --seconds 1 "$torch" --compile --table
part sample_eager sample --seconds 1 --rounds 2 "$torch" --table
part sample_compiled sample --seconds 1 --rounds 2 "$torch" --compile --table
part sample_openvino sample --seconds 1 --rounds 2 "$openvino" --table
part one_compiled sample --batch 1 --seconds 2 --rounds 2 "$torch" --compile --table
part one_openvino sample --batch 1 --seconds 2 --rounds 2 "$openvino" --table
part f32_compiled sample --dtype f32 --steps 2 --seconds 1 --rounds 2 "$torch" --compile --table
part attention_eager attention --seconds 0.4 "$torch" --table
for layout in "" --channels-last; do
  [ -z "$INCEPTION" ] || part features$layout features --file "$INCEPTION" --batch 50 --seconds 3 --rounds 2 --table \
    "--compare=$python tests/bench/inception_torch.py $layout"
done
for work in encode decode; do
  for dtype in f32 bf16; do
    [ -z "$AUTOENCODER" ] || part ${work}_$dtype $work --file "$AUTOENCODER" --batch 1 --dtype $dtype --seconds 2 \
      --rounds 2 --table "--compare=$python tests/bench/autoencoder_torch.py --channels-last"
  done
done

part profile_train train --batch 16 --seconds 8 --profile
part profile_sample sample --seconds 5 --profile
for batch in 1 2 4 8 16 32; do
  part batch_train_$batch train --batch $batch --seconds 2
  part batch_sample_$batch sample --batch $batch --steps 4 --seconds 2
done
for model in mini S2 M4 L2 H2; do
  part width_train_$model train --model $model --batch 4 --seconds 0.5
  part width_sample_$model sample --model $model --batch 4 --steps 1 --seconds 0.5
done
[ -e "$out/kernels.json" ] ||
  $ALONE "$build/bin/kernels_bench" --benchmark_min_time=0.1 --benchmark_out="$out/kernels.json" \
    --benchmark_filter='/S2/(bf16/(amx|avx512)|f32/amx)/real|attention/.*/tokens|(random|linear_c|clamp|dyn|match|blend|nois|mse|pix|image|zero|squ).*/S2/' >&2
