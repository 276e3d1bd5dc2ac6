#!/bin/sh
# Finds the INT8 ranges of the edge profile that come with the project: sh export/calibrated/edge.sh FOLDER
#
# Three good parts of one product each of 43 drawn families. The 11 families that figures are reported on are not seen.
# Calibrate on your own frames where you can: docs/precisions.md.
set -eu
folder=${1:?name a folder for the drawn parts and a bundle without INT8: about 30 MB}
python=${PYTHON:-python3}

unseen=" board brush can cap flange fleece nameplate quilt solar spring tiles "
families=$("$python" -c "
from edge_resad.demo.products.factory.families import FACTORY
print(','.join(name for name in FACTORY if f' {name} ' not in '$unseen'))")
"$python" -m edge_resad.demo.products.factory "$folder/parts" --families "$families" --variants 1 --first-variant 9 \
  --good 3 --defective 0
"$python" -m export bundle --ranges none --out "$folder/bundle"
"$python" -m calibration ranges "$folder"/parts/*/train/good --bundle "$folder/bundle" --frames 129 \
  --out "$folder/edge.json"
echo "Copy $folder/edge.json to export/calibrated/edge.json, then: python -m export bundle --out edge_resad/bundles/edge"
