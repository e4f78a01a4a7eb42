#!/bin/sh
# Makes the embedded weights again:  weights/make-mini.sh VIDEOS
# VIDEOS is the folder of clips that vidtwin-mini.clips.tsv lists; other footage gives weights of the same kind.
# About ten minutes on two CPU cores, and 13 GB of cache for the decoded frames. Run it with the project installed.
set -eu
videos=$1
here=$(dirname "$0")

python -m vidtwin_codec.training.closed_form "$videos" start.safetensors --clips 640 --seed 0

# every thirtieth video calibrates the quantisation steps
set --
for video in $(find "$videos" -name '*.mp4' | sort | awk 'NR % 30 == 1'); do set -- "$@" --clips "$video"; done
vidtwin weights import start.safetensors --name mini --force --output "$here/vidtwin-mini.safetensors" "$@" \
    --description "A switching transform codec written in closed form from statistics of 640 clips" \
    --origin "vidtwin_codec.training.closed_form, 640 clips of 727 short public videos, seed 0; no gradient"
