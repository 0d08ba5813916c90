#!/usr/bin/python3
"""Writes client/onnx/history.def: every version of every operator of the ONNX standard.

Up to opset 17 the rows come from Debian's python3-onnx (1.12). What opsets 18 to 23 changed is
listed here by hand from onnx/defs/operator_sets.h and docs/Changelog.md of ONNX 1.17 and 1.18: a new version
is the one before it with the differences named. Run: tools/onnx_history.py > client/onnx/history.def
"""
import copy
import onnx.defs

TYPES = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "fs", 7: "is", 8: "ss", 9: "ts", 10: "gs",
         11: "sp", 12: "sps", 13: "tp", 14: "tps"}
MANY = 255
TRAINING = "ai.onnx.preview.training"


class Row:
    def __init__(self, ins, outs, attrs, deprecated=False):
        self.ins, self.outs, self.attrs, self.deprecated = ins, outs, attrs, deprecated


def many(n):
    return min(n, MANY)


def from_debian():
    rows = {}
    for s in onnx.defs.get_all_schemas_with_history():
        if s.domain in ("", TRAINING):
            name = s.name if s.domain == "" else f"{s.domain}.{s.name}"
            attrs = {a.name: TYPES[a.type.value if hasattr(a.type, "value") else int(a.type)]
                     + ("!" if a.required else "") for a in s.attributes.values()}
            rows[name, s.since_version] = Row((many(s.min_input), many(s.max_input)),
                                                (many(s.min_output), many(s.max_output)),
                                                attrs, s.deprecated)
    return rows


REDUCE = "SumSquare LogSum LogSumExp L1 L2 Max Min Mean Prod".split()
SAME = {
    18: "ScatterND ScatterElements OptionalGetElement",
    19: "Equal Constant Identity If Loop Reshape Resize Scan Shape Size Pad DequantizeLinear",
    20: "ConstantOfShape GridSample IsInf IsNaN ReduceMax ReduceMin",
    21: "Cast CastLike Constant ConstantOfShape Flatten Identity If Loop Pad QLinearMatMul Reshape "
        "Scan Shape Size Squeeze Transpose Unsqueeze",
    22: "Acos Acosh Asin Asinh Atan Atanh AveragePool Bernoulli Conv ConvTranspose Cos Cosh DeformConv "
        "Det Dropout Elu EyeLike GRU GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample "
        "HardSigmoid HardSwish InstanceNormalization LSTM LpNormalization LpPool MaxPool MaxRoiPool "
        "MaxUnpool Mish Multinomial NonMaxSuppression RNN RandomNormal RandomNormalLike RandomUniform "
        "RandomUniformLike RoiAlign Round Selu Sin Sinh Softplus Softsign Tan ThresholdedRelu",
    23: "Cast CastLike Constant ConstantOfShape Flatten Identity If Loop Pad Reshape Scan Shape Size "
        "Squeeze Transpose Unsqueeze",
}
# (name, version): attributes added (None: taken away), numbers of inputs if they changed
CHANGED = {
    ("Pad", 18): ({}, (2, 4)),
    ("OptionalHasElement", 18): ({}, (0, 1)),
    ("Resize", 18): ({"antialias": "i", "axes": "is", "keep_aspect_ratio_policy": "s"}, None),
    ("Split", 18): ({"num_outputs": "i"}, None),
    ("LpPool", 18): ({"ceil_mode": "i", "dilations": "is"}, None),
    ("AveragePool", 19): ({"dilations": "is"}, None),
    ("Cast", 19): ({"saturate": "i"}, None),
    ("CastLike", 19): ({"saturate": "i"}, None),
    ("QuantizeLinear", 19): ({"saturate": "i"}, None),
    ("DFT", 20): ({"axis": None}, (1, 3)),
    ("QuantizeLinear", 21): ({"block_size": "i", "output_dtype": "i"}, None),
    ("DequantizeLinear", 21): ({"block_size": "i"}, None),
    ("GroupNormalization", 21): ({"stash_type": "i"}, None),
    ("QuantizeLinear", 23): ({"precision": "i"}, None),
    ("DequantizeLinear", 23): ({"output_dtype": "i"}, None),
}
for r in REDUCE:
    CHANGED["Reduce" + r, 18] = ({"axes": None, "noop_with_empty_axes": "i"}, (1, 2))
NEW = {
    ("BitwiseAnd", 18): Row((2, 2), (1, 1), {}),
    ("BitwiseOr", 18): Row((2, 2), (1, 1), {}),
    ("BitwiseXor", 18): Row((2, 2), (1, 1), {}),
    ("BitwiseNot", 18): Row((1, 1), (1, 1), {}),
    ("CenterCropPad", 18): Row((2, 2), (1, 1), {"axes": "is"}),
    ("Col2Im", 18): Row((3, 3), (1, 1), {"dilations": "is", "pads": "is", "strides": "is"}),
    ("GroupNormalization", 18): Row((3, 3), (1, 1), {"epsilon": "f", "num_groups": "i!"}),
    ("Mish", 18): Row((1, 1), (1, 1), {}),
    ("DeformConv", 19): Row((3, 5), (1, 1), {"dilations": "is", "group": "i", "kernel_shape": "is",
                                             "offset_group": "i", "pads": "is", "strides": "is"}),
    ("AffineGrid", 20): Row((2, 2), (1, 1), {"align_corners": "i"}),
    ("Gelu", 20): Row((1, 1), (1, 1), {"approximate": "s"}),
    ("ImageDecoder", 20): Row((1, 1), (1, 1), {"pixel_format": "s"}),
    ("RegexFullMatch", 20): Row((1, 1), (1, 1), {"pattern": "s"}),
    ("StringConcat", 20): Row((2, 2), (1, 1), {}),
    ("StringSplit", 20): Row((1, 1), (2, 2), {"delimiter": "s", "maxsplit": "i"}),
    ("Attention", 23): Row((3, 6), (1, 4), {"is_causal": "i", "kv_num_heads": "i", "q_num_heads": "i",
                                            "qk_matmul_output_mode": "i", "scale": "f", "softcap": "f",
                                            "softmax_precision": "i"}),
    ("RMSNormalization", 23): Row((2, 2), (1, 1), {"axis": "i", "epsilon": "f", "stash_type": "i"}),
    ("RotaryEmbedding", 23): Row((3, 4), (1, 1), {"interleaved": "i", "num_heads": "i",
                                                  "rotary_embedding_dim": "i"}),
}
# Operators that ONNX Runtime puts into ONNX's own domain: its optimiser writes them into models.
RUNTIME = {
    ("LayerNormalization", 1): Row((2, 3), (1, 3), {"axis": "i", "epsilon": "f", "stash_type": "i"}),
    ("SimplifiedLayerNormalization", 1): Row((2, 2), (1, 2), {"axis": "i", "epsilon": "f",
                                                              "stash_type": "i"}),
}


def before(rows, name, version):
    return copy.deepcopy(rows[name, max(v for n, v in rows if n == name and v < version)])


def extend(rows):
    for version in range(18, 24):
        for key, row in NEW.items():
            if key[1] == version:
                rows[key] = row
        for name in SAME.get(version, "").split():
            rows[name, version] = before(rows, name, version)
        for (name, v), (attrs, ins) in CHANGED.items():
            if v != version:
                continue
            row = before(rows, name, version)
            for attr, kind in attrs.items():
                if kind is None:
                    del row.attrs[attr]
                else:
                    row.attrs[attr] = kind
            row.ins = ins or row.ins
            rows[name, version] = row


def main():
    rows = from_debian()
    extend(rows)
    rows.update(RUNTIME)
    print("""/* Every version of every operator of the ONNX standard, up to opset 23.
 *
 * HISTORY("Name", since, in_min, in_max, out_min, out_max, "attributes"), sorted by name, then since.
 * 255: any number. Attributes: name:type, "!" = required; types f i s t g (float, int, string,
 * tensor, graph), fs is ss ts gs (lists of them), sp (sparse tensor), tp (type).
 * Operators of other domains than ai.onnx are named domain.Name.
 * A deprecated version has the one word "deprecated".
 * Written by tools/onnx_history.py: do not edit. Facts from ONNX (Apache-2.0).
 */""")
    print("/* clang-format off */")
    for (name, since), r in sorted(rows.items()):
        attrs = "deprecated" if r.deprecated else " ".join(f"{k}:{v}" for k, v in sorted(r.attrs.items()))
        print(f'HISTORY("{name}", {since}, {r.ins[0]}, {r.ins[1]}, {r.outs[0]}, {r.outs[1]}, "{attrs}")')
    print("/* clang-format on */")


main()
