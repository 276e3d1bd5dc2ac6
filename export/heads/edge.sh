#!/bin/sh
# Draws the material and trains the head of the edge profile that comes with the package: sh export/heads/edge.sh FOLDER
#
# 54 families of drawn products, 8 products each. 37 families are learned from, 6 choose the epoch (two products of each),
# 11 are never opened: what the documents say of drawn parts is measured on those.
set -eu
folder=${1:?name a folder for the material, the features and the training: about 20 GB}
python=${PYTHON:-python3}
export OMP_NUM_THREADS=2 # other numbers of threads round differently

"$python" -m edge_resad.demo.products.factory "$folder/parts" --variants 8 --good 24 --defective 36 --jobs 2

set -f # the patterns are for edge-resad
set --
for family in blister foam keys knit marble tray; do
  set -- "$@" --hold-out "$family-*" --leave-out "$family-[3-8]"
done
for family in board brush can cap flange fleece nameplate quilt solar spring tiles; do
  set -- "$@" --leave-out "$family-*"
done
exec "$python" -m edge_resad train "$folder/parts" --profile edge --out "$folder/run" --cache "$folder/features" \
  --device cpu --seed 42 "$@"
