#!/bin/sh
# usage: links.sh PROGRAM FILE: fails if FILE holds or needs what PROGRAM's zone must not have.
set -eu
program=$1 file=$2
case $program in
eml-hostd)
    must=' eml_relay$| eml_store_open$'
    never=' (eml_channel|eml_attest|eml_policy|eml_topology|eml_graph|eml_blob|eml_plan|eml_model|eml_cbor|eml_aead|eml_bulk|eml_hpke|eml_tls|eml_x25519|eml_request|eml_result|EVP_|SSL_)'
    never_lib='libcrypto|libssl|libcbor|libprotobuf|libcurl'
    ;;
eml-enclaved | eml-enclaved-dev)
    must=' eml_worker_run$| eml_channel_server_hello$'
    never=' (eml_onnx|onnx__|protobuf_c|eml_decompose|MHD_|curl_|eml_store_open|eml_relay)'
    never_lib='libprotobuf|libmicrohttpd|libcurl'
    # Development only: what signs documents without an NSM.
    [ "$program" = eml-enclaved-dev ] || never="$never| (eml_nsm_mock|eml_mint|eml_pki)"
    ;;
esac
symbols=$(nm "$file")
# That the names are there at all shows that the next search could find something.
echo "$symbols" | grep -Eq "$must" || { echo "$program: not the program that was expected"; exit 1; }
if echo "$symbols" | grep -E "$never"; then
    echo "$program: holds what its zone must not have"
    exit 1
fi
# Direct needs only: what a system library needs itself is not this program's choice.
needed=$(readelf -d "$file" | grep NEEDED || true) # a static program needs none
if echo "$needed" | grep -E "$never_lib"; then
    echo "$program: needs what its zone must not have"
    exit 1
fi
if [ "$program" = eml-enclaved ] && [ -n "$needed" ]; then
    echo "$program: the image has no library for it"
    exit 1
fi
