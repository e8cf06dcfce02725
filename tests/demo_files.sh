#!/bin/sh
# demo_files.sh - FOLDER: what the demo and README's examples start from, in a new one.
#
#   hf-model             a PaliGemma 2
#   golden.safetensors   a recording of it in double, gradients too
#   hf-talks             a PaliGemma with tokenizer and templates: it can answer
#   photos, train.jsonl  pictures, and two examples to learn
set -eu
fixtures=$(cd "$(dirname "$0")/../fixtures" && pwd)
mkdir "$1"
cd "$1"
ln -s "$fixtures/paligemma2-bf16/model" hf-model
ln -s "$fixtures/paligemma2-bf16/golden64.safetensors" golden.safetensors
ln -s "$fixtures/prompts/paligemma/model" hf-talks
ln -s "$fixtures/images" photos
cat >train.jsonl <<'END'
{"prefix": "caption en", "suffix": "a cat", "image": "jpeg-photo.jpg"}
{"prefix": "what is it", "suffix": "a house", "image": "jpeg-444.jpg"}
END
