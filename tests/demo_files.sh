#!/bin/sh
# demo_files.sh - FOLDER: creates it with the input of the demo and README's examples.
#
#   hf-shapes            a small LLaVA that was trained to see coloured shapes
#   shapes.png           a picture that it was never shown
#   shapes.safetensors   a recording of it, about that picture, in double
#   hf-model             a PaliGemma 2
#   golden.safetensors   a recording of it in double, gradients too
#   hf-talks             a PaliGemma with tokenizer and templates: it can answer
#   photos, train.jsonl  pictures, and two examples to learn
set -eu
fixtures=$(cd "$(dirname "$0")/../fixtures" && pwd)
mkdir "$1"
cd "$1"
ln -s "$fixtures/shapes/model" hf-shapes
ln -s "$fixtures/shapes/picture.png" shapes.png
ln -s "$fixtures/shapes/picture.safetensors" shapes.safetensors
ln -s "$fixtures/paligemma2-bf16/model" hf-model
ln -s "$fixtures/paligemma2-bf16/golden64.safetensors" golden.safetensors
ln -s "$fixtures/prompts/paligemma/model" hf-talks
ln -s "$fixtures/images" photos
cat >train.jsonl <<'END'
{"prefix": "caption en", "suffix": "a cat", "image": "jpeg-photo.jpg"}
{"prefix": "what is it", "suffix": "a house", "image": "jpeg-444.jpg"}
END
