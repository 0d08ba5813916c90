#!/usr/bin/python3
"""ort_vectors.py NODE_MODULES DIR: writes DIR/test_<case>/ in the form of ONNX's node tests, with
ONNX Runtime's results as the expected outputs, for operators and options that ONNX's own data does
not cover: recurrent options, quantised operators, the operators of com.microsoft. The results are
kept in tests/vectors/onnxruntime; run it again only to add cases.
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from onnx import ValueInfoProto, helper, numpy_helper

rng = np.random.default_rng(1)
CASES = []
MS = "com.microsoft"


def case(name, op, inputs, n_out, consts=(), domain="", opset=14, present_out=None, **attrs):
    """inputs: list of (name, array or None); those named in consts become initializers. An attribute
    may have a trailing underscore, which goes."""
    attrs = {k.rstrip("_"): v for k, v in attrs.items()}
    CASES.append((name, op, inputs, n_out, set(consts), domain, opset, present_out, attrs))


def f32(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def u8(*shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def i8(*shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def recurrent(name, op, hidden=5, batch=3, seq=4, width=6, dirs=1, layout=0, bias=True, lens=None,
              h0=False, c0=False, peep=False, consts=("W", "R", "B"), opset=14, outs=None, **attrs):
    g = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    x = f32(batch, seq, width) if layout else f32(seq, batch, width)
    state = (batch, dirs, hidden) if layout else (dirs, batch, hidden)
    ins = [("X", x), ("W", f32(dirs, g * hidden, width, scale=0.5)),
           ("R", f32(dirs, g * hidden, hidden, scale=0.5)),
           ("B", f32(dirs, 2 * g * hidden) if bias else None),
           ("lens", np.array(lens, np.int32) if lens is not None else None),
           ("h0", f32(*state) if h0 else None)]
    if op == "LSTM":
        ins += [("c0", f32(*state) if c0 else None),
                ("P", f32(dirs, 3 * hidden) if peep else None)]
    if layout:
        attrs["layout"] = layout
    if dirs == 2:
        attrs["direction"] = "bidirectional"
    case(name, op, ins, 3 if op == "LSTM" else 2, consts, opset=opset, present_out=outs,
         hidden_size=hidden, **attrs)


def recurrent_cases():
    for op in ("RNN", "GRU", "LSTM"):
        low = op.lower()
        recurrent(f"{low}_reverse", op, direction="reverse")
        recurrent(f"{low}_bidirectional", op, dirs=2, h0=True, c0=True)
        recurrent(f"{low}_lens", op, lens=[4, 1, 2], h0=True, c0=True)
        recurrent(f"{low}_reverse_lens", op, direction="reverse", lens=[2, 4, 3])
        recurrent(f"{low}_bidirectional_lens", op, dirs=2, lens=[1, 4, 3], h0=True, c0=True)
        recurrent(f"{low}_weights_at_run_time", op, consts=(), dirs=2)
        recurrent(f"{low}_wide", op, hidden=32, width=40, batch=2, dirs=2)
        recurrent(f"{low}_hidden_16", op, hidden=16, width=3, batch=1, seq=7)
        recurrent(f"{low}_no_bias", op, bias=False)
        recurrent(f"{low}_clip", op, clip=0.3)
        recurrent(f"{low}_opset7", op, opset=7)
        recurrent(f"{low}_state_only", op, outs=[1])
    acts = {"RNN": ["Affine"], "GRU": ["HardSigmoid", "LeakyRelu"],
            "LSTM": ["HardSigmoid", "ScaledTanh", "Affine"]}
    for op, a in acts.items():
        low = op.lower()
        recurrent(f"{low}_activation_numbers", op, activations=a,
                  activation_alpha=[0.3, 0.4, 0.6][:len(a)], activation_beta=[0.45, 0.7, 0.2][:len(a)])
    for act in ("Relu", "Softsign", "Softplus", "Elu", "LeakyRelu", "Sigmoid"):
        recurrent(f"rnn_{act.lower()}", "RNN", activations=[act])
    recurrent("rnn_thresholdedrelu", "RNN", activations=["ThresholdedRelu"], activation_alpha=[0.4])
    recurrent("rnn_two_activations", "RNN", dirs=2, activations=["Relu", "Tanh"])
    recurrent("gru_linear_before_reset", "GRU", linear_before_reset=1)
    recurrent("gru_linear_before_reset_lens", "GRU", linear_before_reset=1, dirs=2, lens=[3, 4, 1])
    recurrent("gru_linear_before_reset_16", "GRU", hidden=16, linear_before_reset=1, h0=True)
    recurrent("lstm_peepholes", "LSTM", peep=True, c0=True, h0=True)
    recurrent("lstm_peepholes_bidirectional", "LSTM", peep=True, dirs=2, lens=[4, 2, 3])
    recurrent("lstm_input_forget", "LSTM", input_forget=1)
    recurrent("lstm_two_sets", "LSTM", dirs=2,
              activations=["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Relu", "Tanh"])


def scalar(v, t):
    return np.array(v, t)


def product_cases():
    s = lambda v: scalar(v, np.float32)
    for a, b in ((u8, u8), (u8, i8), (i8, i8)):
        n = f"{a.__name__}{b.__name__}"
        z = lambda f: scalar(int(f(1)[0]), f.__name__.replace("u8", "uint8").replace("i8", "int8"))
        for m, k, cols, consts in ((5, 7, 3, ("b", "bz")), (33, 64, 50, ("b", "bz")),
                                   (1, 130, 17, ()), (9, 20, 16, ("b",))):
            case(f"matmulinteger_{n}_{m}x{k}x{cols}", "MatMulInteger",
                 [("a", a(m, k)), ("b", b(k, cols)), ("az", z(a)), ("bz", z(b))], 1, consts)
        case(f"matmulinteger_columns_{n}", "MatMulInteger",
             [("a", a(2, 4, 9)), ("b", b(9, 20)), ("az", z(a)), ("bz", b(20))], 1, ("b", "bz"))
        case(f"qlinearmatmul_{n}", "QLinearMatMul",
             [("a", a(11, 30)), ("as", s(.02)), ("az", z(a)), ("b", b(30, 19)), ("bs", s(.03)),
              ("bz", z(b)), ("ys", s(.4)), ("yz", z(a))], 1, ("b", "bs", "bz"))
        case(f"qlinearmatmul_columns_{n}", "QLinearMatMul",
             [("a", a(11, 30)), ("as", s(.02)), ("az", z(a)), ("b", b(30, 19)),
              ("bs", np.abs(f32(19)) / 20), ("bz", b(19)), ("ys", s(.4)), ("yz", z(a))],
             1, ("b", "bs", "bz"))
        case(f"matmulintegertofloat_{n}", "MatMulIntegerToFloat",
             [("a", a(6, 40)), ("b", b(40, 21)), ("as", s(.02)), ("bs", np.abs(f32(21)) / 20),
              ("az", z(a)), ("bz", b(21)), ("bias", f32(21))], 1, ("b", "bs", "bz", "bias"), MS)
    case("matmulinteger_batches", "MatMulInteger",
         [("a", u8(2, 1, 5, 6)), ("b", i8(3, 6, 7)), ("az", scalar(3, np.uint8))], 1)
    case("matmulintegertofloat_plain", "MatMulIntegerToFloat",
         [("a", u8(3, 5)), ("b", i8(5, 4)), ("as", s(.1)), ("bs", s(.2))], 1, (), MS)


def convolution_cases():
    s = lambda v: scalar(v, np.float32)
    shapes = {"3x3": ((2, 5, 9, 8), (7, 5, 3, 3), {"pads": [1, 1, 1, 1]}),
              "groups": ((1, 6, 7, 7), (8, 3, 3, 3), {"group": 2, "strides": [2, 2]}),
              "depthwise": ((1, 18, 6, 5), (18, 1, 3, 3), {"group": 18, "pads": [0, 1, 2, 1]}),
              "1x1": ((1, 20, 4, 4), (33, 20, 1, 1), {}),
              "dilated": ((1, 3, 12, 11), (4, 3, 3, 2), {"dilations": [2, 3],
                                                         "auto_pad": "SAME_UPPER"}),
              "1d": ((2, 4, 15), (5, 4, 5), {"pads": [2, 2]})}
    for n, (xs, ws, attrs) in shapes.items():
        if n == "dilated":
            attrs = {"dilations": [2, 3], "pads": [2, 1, 2, 2]}
        for wt in (u8, i8):
            w = wt(*ws)
            zero = wt(1)[0]
            case(f"convinteger_{n}_{wt.__name__}", "ConvInteger",
                 [("x", u8(*xs)), ("w", w), ("xz", scalar(113, np.uint8)),
                  ("wz", scalar(zero, w.dtype))], 1, ("w", "wz"), **attrs)
            case(f"qlinearconv_{n}_{wt.__name__}", "QLinearConv",
                 [("x", u8(*xs)), ("xs", s(.02)), ("xz", scalar(113, np.uint8)), ("w", w),
                  ("ws", s(.03)), ("wz", scalar(zero, w.dtype)), ("ys", s(.3)),
                  ("yz", scalar(100, np.uint8)),
                  ("bias", rng.integers(-2000, 2000, ws[0]).astype(np.int32))], 1,
                 ("w", "ws", "wz", "bias"), **attrs)
        case(f"qlinearconv_{n}_channels", "QLinearConv",
             [("x", i8(*xs)), ("xs", s(.02)), ("xz", scalar(-7, np.int8)), ("w", i8(*ws)),
              ("ws", np.abs(f32(ws[0])) / 30), ("wz", np.zeros(ws[0], np.int8)), ("ys", s(.3)),
              ("yz", scalar(9, np.int8))], 1, ("w", "ws", "wz"), **attrs)
    case("qlinearconv_weights_at_run_time", "QLinearConv",
         [("x", u8(1, 3, 6, 6)), ("xs", s(.02)), ("xz", scalar(113, np.uint8)),
          ("w", u8(5, 3, 2, 2)), ("ws", s(.03)), ("wz", scalar(99, np.uint8)), ("ys", s(.3)),
          ("yz", scalar(100, np.uint8))], 1)


def linear_cases():
    for t, zero in ((np.uint8, 120), (np.int8, -3), (np.uint16, 30000), (np.int16, 77)):
        n = np.dtype(t).name
        case(f"quantizelinear_{n}", "QuantizeLinear",
             [("x", f32(5, 40, scale=9)), ("s", scalar(.1, np.float32)), ("z", scalar(zero, t))],
             1, opset=21)
        case(f"quantizelinear_axis_{n}", "QuantizeLinear",
             [("x", f32(3, 4, 5, scale=9)), ("s", np.abs(f32(4)) + .01),
              ("z", np.full(4, zero, t))], 1, opset=21, axis=-2)
        case(f"dequantizelinear_{n}", "DequantizeLinear",
             [("x", rng.integers(np.iinfo(t).min, np.iinfo(t).max, (3, 4, 5)).astype(t)),
              ("s", np.abs(f32(3)) + .01), ("z", np.full(3, zero, t))], 1, opset=21, axis=0)
    case("quantizelinear_ties", "QuantizeLinear",
         [("x", np.array([.5, 1.5, 2.5, -.5, -1.5, 300, -300, 1e30, -1e30], np.float32)),
          ("s", scalar(1, np.float32)), ("z", scalar(10, np.uint8))], 1)
    case("dynamicquantizelinear_large", "DynamicQuantizeLinear", [("x", f32(70, 501))], 3)
    case("dynamicquantizelinear_positive", "DynamicQuantizeLinear", [("x", np.abs(f32(67)) + 3)], 3)
    case("dynamicquantizelinear_negative", "DynamicQuantizeLinear", [("x", -np.abs(f32(67)))], 3)
    case("dynamicquantizelinear_zeros", "DynamicQuantizeLinear", [("x", np.zeros(5, np.float32))], 3)


def contrib_cases():
    s = lambda v: scalar(v, np.float32)
    for t, zero in ((u8, np.uint8), (i8, np.int8)):
        n = t.__name__
        z = [scalar(v, zero) for v in (90, 5, 77)]
        for op in ("QLinearAdd", "QLinearMul"):
            case(f"ms_{op.lower()}_{n}", op,
                 [("a", t(3, 1, 6)), ("as", s(.0513)), ("az", z[0]), ("b", t(4, 6)), ("bs", s(.0417)),
                  ("bz", z[1]), ("ys", s(.2)), ("yz", z[2])], 1, ("b",), MS)
        for op, more in (("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": .3})):
            case(f"ms_{op.lower()}_{n}", op,
                 [("x", t(5, 9)), ("xs", s(.05)), ("xz", z[0]), ("ys", s(.01)), ("yz", z[1])], 1,
                 ("xs", "xz", "ys", "yz"), MS, **more)
        case(f"ms_qlinearglobalaveragepool_{n}", "QLinearGlobalAveragePool",
             [("x", t(2, 3, 5, 4)), ("xs", s(.05)), ("xz", z[0]), ("ys", s(.02)), ("yz", z[1])], 1,
             (), MS)
        case(f"ms_qlinearconcat_{n}", "QLinearConcat",
             [("ys", s(.06)), ("yz", z[0]), ("a", t(2, 3)), ("as", s(.05)), ("az", z[1]),
              ("b", t(2, 5)), ("bs", s(.07)), ("bz", z[2])], 1,
             ("ys", "yz", "as", "az", "bs", "bz"), MS, axis=1)
    for t in (u8, i8):
        case(f"ms_dynamicquantizematmul_{t.__name__}", "DynamicQuantizeMatMul",
             [("a", f32(7, 24)), ("b", t(24, 18)), ("bs", s(.02)),
              ("bz", scalar(11, t(1).dtype)), ("bias", f32(18))], 1, ("b", "bs", "bz", "bias"), MS)
    case("ms_fusedmatmul", "FusedMatMul", [("a", f32(2, 5, 3)), ("b", f32(2, 4, 5))], 1, (), MS,
         alpha=.25, transA=1, transB=1)
    case("ms_gelu", "Gelu", [("x", f32(4, 9, scale=2))], 1, (), MS)
    case("ms_biasgelu", "BiasGelu", [("x", f32(4, 9, scale=2)), ("b", f32(9))], 1, ("b",), MS)
    case("ms_fastgelu", "FastGelu", [("x", f32(4, 9, scale=2)), ("b", f32(9))], 1, ("b",), MS)
    case("ms_quickgelu", "QuickGelu", [("x", f32(4, 9, scale=2))], 1, (), MS, alpha=1.2)
    case("ms_skiplayernormalization", "SkipLayerNormalization",
         [("x", f32(2, 5, 16)), ("skip", f32(2, 5, 16)), ("g", f32(16)), ("beta", f32(16)),
          ("bias", f32(16))], 4, ("g", "beta", "bias"), MS, present_out=[0, 3], epsilon=1e-5)
    case("ms_skiplayernormalization_plain", "SkipLayerNormalization",
         [("x", f32(2, 5, 16)), ("skip", f32(2, 5, 16)), ("g", f32(16))], 1, ("g",), MS)
    for zeros in (False, True):
        case(f"ms_matmulnbits{'_zeros' if zeros else ''}", "MatMulNBits",
             [("x", f32(5, 40)), ("b", u8(9, 3, 8)), ("s", np.abs(f32(27)) / 9),
              ("z", u8(18) if zeros else None)], 1, ("b", "s", "z"), MS, K=40, N=9, bits=4,
             block_size=16)

def i32(*v):
    return np.array(v, np.int32)


def normalisation_cases():
    w = lambda: f32(16)
    case("simplifiedlayernormalization", "SimplifiedLayerNormalization",
         [("x", f32(2, 5, 16)), ("g", w())], 1, ("g",), axis=-1, epsilon=1e-5)
    case("simplifiedlayernormalization_tail", "SimplifiedLayerNormalization",
         [("x", f32(3, 37)), ("g", f32(37))], 1, (), axis=-1, epsilon=1e-6)
    case("rmsnormalization", "RMSNormalization", [("x", f32(2, 3, 4, 5)), ("g", f32(4, 5))], 1,
         ("g",), opset=23, axis=-2, epsilon=1e-3)
    case("layernormalization_before_17", "LayerNormalization",
         [("x", f32(2, 5, 16)), ("g", w()), ("b", w())], 1, ("g", "b"), opset=13, axis=-1)
    case("ms_skipsimplified", "SkipSimplifiedLayerNormalization",
         [("x", f32(2, 5, 16)), ("skip", f32(2, 5, 16)), ("g", w()), ("bias", w())], 4,
         ("g", "bias"), MS, present_out=[0, 3], epsilon=1e-5)
    case("ms_skipsimplified_plain", "SkipSimplifiedLayerNormalization",
         [("x", f32(2, 5, 16)), ("skip", f32(2, 5, 16)), ("g", w())], 1, ("g",), MS)
    ids = lambda n, *s: rng.integers(0, n, s).astype(np.int32)
    tables = lambda: [("words", f32(30, 16)), ("places", f32(9, 16)), ("kinds", f32(2, 16)),
                      ("g", w()), ("b", w())]
    names = ("words", "places", "kinds", "g", "b")
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    case("ms_embedlayernormalization", "EmbedLayerNormalization",
         [("ids", ids(30, 2, 5)), ("segments", ids(2, 2, 5))] + tables() + [("mask", mask)], 2,
         names, MS, epsilon=1e-12)
    case("ms_embedlayernormalization_sum", "EmbedLayerNormalization",
         [("ids", ids(30, 2, 5)), ("segments", ids(2, 2, 5))] + tables()
         + [("mask", None), ("at", ids(9, 2, 5))], 3, names, MS)


def fused_cases():
    x, wt, b = (1, 4, 9, 9), (6, 4, 3, 3), 6
    for act, params in (("Relu", None), ("Tanh", None), ("Sigmoid", None), ("LeakyRelu", [.2]),
                        ("Clip", [-.5, .75]), ("HardSigmoid", [.3, .4])):
        more = {"activation_params": params} if params else {}
        case(f"ms_fusedconv_{act.lower()}", "FusedConv",
             [("x", f32(*x)), ("w", f32(*wt, scale=.3)), ("b", f32(b))], 1, ("w", "b"), MS,
             activation=act, pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3], **more)
    case("ms_fusedconv_sum", "FusedConv",
         [("x", f32(*x)), ("w", f32(*wt, scale=.3)), ("b", f32(b)), ("z", f32(1, 6, 7, 7))], 1,
         ("w", "b"), MS, activation="Relu")
    case("ms_fusedgemm", "FusedGemm", [("a", f32(7, 5)), ("b", f32(4, 7)), ("c", f32(4))], 1,
         ("b", "c"), MS, activation="LeakyRelu", activation_alpha=.3, transA=1, transB=1, alpha=.5,
         beta=2.0)


def quantised_cases():
    s = lambda v: scalar(v, np.float32)
    for t, n in ((u8, "u8"), (i8, "i8")):
        k = t(1).dtype
        z = [scalar(v, k) for v in (90, 5, 77)]
        for last in (0, 1):
            x = t(2, 7, 6, 3) if last else t(2, 3, 7, 6)
            case(f"ms_qlinearaveragepool_{n}{'_last' if last else ''}", "QLinearAveragePool",
                 [("x", x), ("xs", s(.0513)), ("xz", z[0]), ("ys", s(.0417)), ("yz", z[2])], 1,
                 ("xs", "xz", "ys", "yz"), MS, channels_last=last, kernel_shape=[3, 2],
                 pads=[1, 0, 1, 1], strides=[2, 1], count_include_pad=last)
        case(f"ms_qlinearglobalaveragepool_last_{n}", "QLinearGlobalAveragePool",
             [("x", t(2, 5, 4, 3)), ("xs", s(.0513)), ("xz", z[0]), ("ys", s(.0217)), ("yz", z[1])],
             1, (), MS, channels_last=1)
        case(f"ms_qlinearsoftmax_{n}", "QLinearSoftmax",
             [("x", t(3, 11)), ("xs", s(.05)), ("xz", z[0]), ("ys", s(1 / 256)),
              ("yz", scalar(0 if n == "u8" else -128, k))], 1, ("xs", "xz", "ys", "yz"), MS,
             axis=-1, opset_=13)
        case(f"ms_qlinearwhere_{n}", "QLinearWhere",
             [("c", rng.integers(0, 2, (4, 6)).astype(bool)), ("x", t(4, 6)), ("xs", s(.05)),
              ("xz", z[0]), ("y", t(6)), ("ys", s(.07)), ("yz", z[1]), ("zs", s(.06)), ("zz", z[2])],
             1, ("xs", "xz", "ys", "yz", "zs", "zz"), MS)
        case(f"ms_quantizelinear_{n}", "QuantizeLinear",
             [("x", f32(3, 4, 5, scale=9)), ("s", np.abs(f32(4)) + .01), ("z", t(4))], 1, (), MS,
             axis=1)
    for t, n in ((np.uint16, "uint16"), (np.int16, "int16")):
        case(f"ms_dequantizelinear_{n}", "DequantizeLinear",
             [("x", rng.integers(0, 30000, (5, 6)).astype(t)), ("s", s(.01)), ("z", scalar(99, t))],
             1, (), MS)
    for a, b in ((u8, i8), (u8, u8), (i8, i8)):
        n = a.__name__ + b.__name__
        c = rng.integers(-3000, 3000, 9).astype(np.int32)
        q = [("a", a(7, 20)), ("as", s(.02)), ("az", scalar(5, a(1).dtype)), ("b", b(9, 20)),
             ("bs", s(.03)), ("bz", scalar(3, b(1).dtype)), ("c", c)]
        case(f"ms_qgemm_{n}", "QGemm", q + [("ys", s(.3)), ("yz", scalar(50, a(1).dtype))], 1,
             ("b", "bs", "bz", "c"), MS, transB=1, alpha=.5)
        q = [("a", a(20, 7)), ("as", s(.02)), ("az", scalar(5, a(1).dtype)), ("b", b(20, 9)),
             ("bs", np.abs(f32(9)) / 20), ("bz", np.zeros(9, b(1).dtype)), ("c", c)]
        case(f"ms_qgemm_float_{n}", "QGemm", q, 1, ("b", "bs", "bz", "c"), MS, transA=1)


def rotation_cases():
    table = lambda n, half: (np.cos(a := f32(n, half, scale=2)), np.sin(a))
    cos, sin = table(20, 4)
    at = np.array([[3, 4, 5], [0, 1, 2]], np.int64)
    for inter in (0, 1):
        for name, x, more in (("3d", f32(2, 3, 16), {}), ("4d", f32(2, 2, 3, 8), {}),
                              ("part", f32(2, 3, 24), {"num_heads": 2, "rotary_embedding_dim": 8})):
            case(f"ms_rotaryembedding_{name}_{inter}", "RotaryEmbedding",
                 [("x", x), ("at", at), ("cos", cos), ("sin", sin)], 1, ("cos", "sin"), MS,
                 interleaved=inter, **more)
        case(f"rotaryembedding_{inter}", "RotaryEmbedding",
             [("x", f32(2, 2, 3, 8)), ("cos", cos), ("sin", sin), ("at", at)], 1, ("cos", "sin"),
             opset=23, interleaved=inter)
        c, s = (t[at] for t in (cos, sin))
        case(f"rotaryembedding_each_{inter}", "RotaryEmbedding",
             [("x", f32(2, 3, 16)), ("cos", c), ("sin", s)], 1, (), opset=23, interleaved=inter,
             num_heads=2)
    case("ms_rotaryembedding_offset", "RotaryEmbedding",
         [("x", f32(2, 3, 16)), ("at", np.array([4], np.int64)), ("cos", cos), ("sin", sin)], 1,
         ("cos", "sin"), MS)


def attention_cases():
    def att(name, q, k, v, mask=None, pk=None, pv=None, outs=1, **attrs):
        case("attention_" + name, "Attention",
             [("q", q), ("k", k), ("v", v), ("mask", mask), ("pk", pk), ("pv", pv)], outs, (),
             opset=23, **attrs)
    heads = {"q_num_heads": 2, "kv_num_heads": 2}
    att("3d", f32(2, 4, 16), f32(2, 6, 16), f32(2, 6, 32), **heads)
    att("4d", f32(2, 3, 4, 8), f32(2, 3, 6, 8), f32(2, 3, 6, 5))
    att("4d_causal", f32(2, 3, 4, 8), f32(2, 3, 4, 8), f32(2, 3, 4, 5), is_causal=1)
    att("3d_causal_cap", f32(1, 5, 32), f32(1, 5, 32), f32(1, 5, 32), is_causal=1, softcap=2.0,
        scale=.5, **heads)
    att("4d_mask", f32(2, 3, 4, 8), f32(2, 3, 6, 8), f32(2, 3, 6, 5), f32(4, 6))
    att("4d_mask_cap", f32(2, 3, 4, 8), f32(2, 3, 6, 8), f32(2, 3, 6, 5), f32(2, 1, 4, 6, scale=4),
        softcap=1.5)
    att("4d_bool", f32(2, 3, 4, 8), f32(2, 3, 6, 8), f32(2, 3, 6, 5),
        np.tri(4, 6, 1).astype(bool))
    att("past", f32(2, 3, 4, 8), f32(2, 3, 4, 8), f32(2, 3, 4, 5), None, f32(2, 3, 3, 8),
        f32(2, 3, 3, 5), 3)
    att("past_causal", f32(2, 4, 24), f32(2, 4, 24), f32(2, 4, 24), None, f32(2, 3, 3, 8),
        f32(2, 3, 3, 8), 3, is_causal=1, q_num_heads=3, kv_num_heads=3)
    att("groups_4d", f32(2, 6, 4, 8), f32(2, 2, 5, 8), f32(2, 2, 5, 6))
    att("groups_3d_mask", f32(2, 4, 48), f32(2, 5, 16), f32(2, 5, 16), f32(2, 6, 4, 5),
        q_num_heads=6, kv_num_heads=2)
    for mode in range(4):
        case(f"attention_scores_{mode}", "Attention",
             [("q", f32(1, 2, 3, 8)), ("k", f32(1, 2, 4, 8)), ("v", f32(1, 2, 4, 8)),
              ("mask", f32(3, 4))], 4, (), opset=23, present_out=[0, 3],
             qk_matmul_output_mode=mode, softcap=1.2)


def ms_attention_cases():
    def att(name, b=2, s=4, n=2, d=8, mask=None, past=0, bias=None, sizes=None, outs=1, **attrs):
        h, hv = (sizes[0], sizes[2]) if sizes else (n * d, n * d)
        x = f32(b, s, 12)
        if sizes:
            attrs["qkv_hidden_sizes"] = sizes
        case("ms_attention_" + name, "Attention",
             [("x", x), ("w", f32(12, 2 * h + hv, scale=.4)), ("b", f32(2 * h + hv)),
              ("mask", mask), ("past", f32(2, b, n, past, d) if past else None), ("bias", bias)],
             outs, ("w", "b"), MS, num_heads=n, **attrs)
    att("plain")
    att("panels", d=16, s=7)
    att("causal", unidirectional=1)
    att("mask", mask=np.array([[1, 1, 1, 0], [1, 1, 1, 1]], np.int32))
    att("mask_3d", mask=rng.integers(0, 2, (2, 4, 4)).astype(np.int32) | np.eye(4, dtype=np.int32))
    att("lengths", mask=i32(3, 4))
    att("past", past=3, outs=2, unidirectional=1)
    att("past_mask", past=3, outs=2, mask=np.array([[0, 1, 1, 1, 1, 1, 1], [1] * 7], np.int32))
    att("bias", bias=f32(2, 2, 4, 4))
    att("sizes", sizes=[16, 16, 24], scale=.2)

    def mha(name, q, k=None, v=None, bias=None, pad=None, more=None, pk=None, pv=None, outs=1,
            **attrs):
        case("ms_multiheadattention_" + name, "MultiHeadAttention",
             [("q", q), ("k", k), ("v", v), ("b", bias), ("pad", pad), ("more", more), ("pk", pk),
              ("pv", pv)], outs, ("b",), MS, num_heads=2, **attrs)
    mha("plain", f32(2, 4, 16), f32(2, 5, 16), f32(2, 5, 24))
    mha("bias", f32(2, 4, 16), f32(2, 5, 16), f32(2, 5, 24), f32(56))
    mha("causal", f32(2, 5, 16), f32(2, 5, 16), f32(2, 5, 16), unidirectional=1, scale=.3)
    mha("padding", f32(2, 4, 16), f32(2, 5, 16), f32(2, 5, 16),
        pad=np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32))
    mha("scores_bias", f32(2, 4, 16), f32(2, 5, 16), f32(2, 5, 16), more=f32(1, 2, 4, 5))
    mha("past", f32(2, 4, 16), f32(2, 4, 16), f32(2, 4, 16), pk=f32(2, 2, 3, 8), pv=f32(2, 2, 3, 8),
        outs=3)
    mha("past_causal", f32(2, 4, 16), f32(2, 4, 16), f32(2, 4, 16), pk=f32(2, 2, 3, 8),
        pv=f32(2, 2, 3, 8), outs=3, unidirectional=1)
    mha("cross", f32(2, 4, 16), f32(2, 2, 6, 8), f32(2, 2, 6, 8))

    def gqa(name, s, past, total, lengths, packed=False, rotary=False, at=None, d=16, held=None,
            bias=None, sink=None, **attrs):
        b = len(lengths)
        ins = [("q", f32(b, s, (4 + 4) * d if packed else 4 * d)),
               ("k", None if packed else f32(b, s, 2 * d)),
               ("v", None if packed else f32(b, s, 2 * d)),
               ("pk", f32(b, 2, held or past, d) if past else None),
               ("pv", f32(b, 2, held or past, d) if past else None),
               ("lengths", i32(*lengths)), ("total", scalar(total, np.int32))]
        if rotary:
            a = f32(32, d // 2, scale=2)
            ins += [("cos", np.cos(a)), ("sin", np.sin(a)), ("at", at), ("bias", bias)]
        else:
            ins += [("cos", None), ("sin", None), ("at", None), ("bias", bias)]
        ins += [("sink", sink)]
        case("ms_groupqueryattention_" + name, "GroupQueryAttention", ins, 3, ("cos", "sin"), MS,
             num_heads=4, kv_num_heads=2, do_rotary=int(rotary), **attrs)
    gqa("prompt", 5, 0, 5, [4, 4])
    gqa("prompt_rotary", 5, 0, 5, [4, 4], rotary=True)
    gqa("packed", 5, 0, 5, [4], packed=True, rotary=True, rotary_interleaved=1)
    gqa("next", 1, 6, 7, [6, 6], rotary=True)
    gqa("next_several", 3, 6, 9, [8], rotary=True, softcap=3.0, scale=.4)
    gqa("window", 4, 6, 10, [9], local_window_size=3)
    gqa("bias", 2, 3, 5, [4], bias=f32(1, 1, 2, 5))
    gqa("lengths", 1, 6, 7, [6, 3], rotary=True)
    gqa("next_rotary_part", 1, 6, 7, [6], rotary=True, rotary_interleaved=1)
    state = rng.bit_generator.state  # cases that came later leave the others' numbers as they were
    gqa("smooth", 5, 0, 5, [4, 4], smooth_softmax=1)
    gqa("smooth_window", 4, 6, 10, [9], smooth_softmax=1, local_window_size=3, softcap=3.0)
    gqa("sink", 5, 0, 5, [4, 4], sink=f32(4))
    gqa("sink_next", 1, 6, 7, [6, 3], rotary=True, bias=f32(1, 1, 1, 7), sink=f32(4, scale=3))
    rng.bit_generator.state = state


def wide_cases():
    makes = {"f64": lambda *s: rng.standard_normal(s),
             "i32": lambda *s: rng.integers(-2**31, 2**31, s).astype(np.int32),
             "u32": lambda *s: rng.integers(0, 2**32, s).astype(np.uint32),
             "i64": lambda *s: rng.integers(-2**62, 2**62, s),
             "u64": lambda *s: rng.integers(0, 2**63, s).astype(np.uint64)}
    shapes = {"plain": ((5, 7), (7, 6)), "batches": ((2, 1, 3, 4), (5, 4, 2)),
              "vector": ((7,), (2, 7, 3)), "column": ((3, 2, 7), (7,)), "dot": ((9,), (9,)),
              "nothing": ((3, 0), (0, 4))}
    for t, make in makes.items():
        for n, (a, b) in shapes.items():
            case(f"matmul_{t}_{n}", "MatMul", [("a", make(*a)), ("b", make(*b))], 1,
                 ("b",) if n == "plain" else ())
    f64 = makes["f64"]
    for ta in (0, 1):
        for tb in (0, 1):
            case(f"gemm_f64_{ta}{tb}", "Gemm",
                 [("a", f64(*((5, 4) if ta else (4, 5)))), ("b", f64(*((6, 5) if tb else (5, 6)))),
                  ("c", f64(*((4, 1) if ta else (6,))))], 1, ("b", "c"), transA=ta, transB=tb,
                 alpha=.5, beta=1.5)
    case("gemm_f64_no_c", "Gemm", [("a", f64(4, 5)), ("b", f64(5, 6))], 1)


def write_model(path, op, inputs, n_out, consts, domain, opset, present_out, attrs):
    dtypes = {np.dtype(k): v for k, v in {
        "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
        "bool": 9, "float64": 11, "uint32": 12, "uint64": 13}.items()}
    used = [(n, a) for n, a in inputs if a is not None]
    names = [n if a is not None else "" for n, a in inputs]
    while names and names[-1] == "":
        names.pop()
    outs = [f"y{i}" if present_out is None or i in present_out else "" for i in range(n_out)]
    node = helper.make_node(op, names, outs, domain=domain, **attrs)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info(n, dtypes[a.dtype], a.shape) for n, a in used
         if n not in consts],
        [ValueInfoProto(name=o) for o in outs if o],
        [numpy_helper.from_array(a, n) for n, a in used if n in consts])
    ops = [helper.make_opsetid("", opset)]
    if domain:
        ops.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(graph, opset_imports=ops, ir_version=8 if opset < 23 else 11)
    with open(path, "wb") as f:
        f.write(model.SerializeToString())
    return {n: a for n, a in used if n not in consts}


def write_tensor(path, array, name):
    with open(path, "wb") as f:
        f.write(numpy_helper.from_array(array, name).SerializeToString())


def main(modules, out):
    work = tempfile.mkdtemp()
    feeds = {}
    for name, op, inputs, n_out, consts, domain, opset, present, attrs in CASES:
        at = os.path.join(work, "test_" + name)
        os.makedirs(at)
        given = write_model(os.path.join(at, "model.onnx"), op, inputs, n_out, consts, domain,
                            opset, present, attrs)
        feeds["test_" + name] = given
        with open(os.path.join(at, "inputs.json"), "w") as f:
            json.dump({n: {"type": str(a.dtype), "dims": list(a.shape),
                           "data": base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()}
                       for n, a in given.items()}, f)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ort_vectors.mjs")
    subprocess.run(["node", script, modules, work], check=True)
    for name, given in feeds.items():
        results = os.path.join(work, name, "outputs.json")
        if not os.path.exists(results):
            continue
        to = os.path.join(out, name, "test_data_set_0")
        os.makedirs(to, exist_ok=True)
        shutil.copy(os.path.join(work, name, "model.onnx"), os.path.join(out, name))
        for i, (n, a) in enumerate(given.items()):
            write_tensor(os.path.join(to, f"input_{i}.pb"), a, n)
        with open(results) as f:
            for i, o in enumerate(json.load(f)):
                a = np.frombuffer(base64.b64decode(o["data"]), o["type"]).reshape(o["dims"])
                write_tensor(os.path.join(to, f"output_{i}.pb"), a, o["name"])
    shutil.rmtree(work)


if __name__ == "__main__":
    recurrent_cases()
    product_cases()
    convolution_cases()
    linear_cases()
    contrib_cases()
    normalisation_cases()
    fused_cases()
    quantised_cases()
    rotation_cases()
    attention_cases()
    ms_attention_cases()
    wide_cases()
    main(sys.argv[1], sys.argv[2])
