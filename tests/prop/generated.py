"""A model that is like no other, and what of it must not be found anywhere: shared by the properties that search for it."""
import functools
import hashlib
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import scan
from services import program, run


LAYERS = 4  # of a model, at most


class Model:
    """A chain of MatMul, Add, activation and Gather with names, numbers and shapes that occur nowhere else. long: over many rows,
    and a Loop follows whose trip count is an input too: it runs until it is stopped."""

    def __init__(self, rng, folder, most=LAYERS, long=False):
        self.rng, self.folder = rng, folder
        self.numbers = np.random.RandomState(rng.getrandbits(31))
        self.names = []
        self.rows = 128 if long else rng.randint(1, 9)
        self.path = os.path.join(folder, "m.onnx")
        nodes, inits, middle = [], [], []
        width = rng.randint(4, 40)
        last, n_in = self.name(), width
        self.input_name = last
        x_info = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", width])
        for _ in range(rng.randint(1, most)):
            n_out = rng.randint(8, 96)
            w, b = self.weights(inits, n_in, n_out), self.weights(inits, n_out)
            product, sum_, out = self.name(), self.name(), self.name()
            nodes += [helper.make_node("MatMul", [last, w], [product]), helper.make_node("Add", [product, b], [sum_]),
                      helper.make_node(rng.choice(["Relu", "Tanh", "Sigmoid"]), [sum_], [out])]
            middle.append(out)
            last, n_in = out, n_out
        table = self.weights(inits, 50, n_in)
        self.index_name, row, y = self.name(), self.name(), self.name()
        nodes += [helper.make_node("Gather", [table, self.index_name], [row], axis=0),
                  helper.make_node("Mul", [last, row], [y])]
        self.output_name = y
        infos = [x_info, helper.make_tensor_value_info(self.index_name, TensorProto.INT64, ["N"])]
        self.trips_name = None
        if long:
            middle.append(y)
            y = self.output_name = self.loop(nodes, inits, infos, y, n_in)
        self.save(nodes, inits, infos, [y], self.path)
        self.save(nodes, inits, infos, [y, *middle], os.path.join(folder, "open.onnx"))
        self.inits = inits
        self.x = self.numbers.standard_normal((self.rows, width)).astype(np.float32)
        self.index = self.numbers.randint(0, 50, self.rows).astype(np.int64)

    def name(self):
        self.names.append("".join(self.rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=16)))
        return self.names[-1]

    def weights(self, inits, *dims):
        name = self.name()
        inits.append(numpy_helper.from_array(self.numbers.standard_normal(dims).astype(np.float32), name))
        return name

    def loop(self, nodes, inits, infos, last, width):
        """y = tanh(y W), as often as an input says."""
        self.trips_name, before, product, after, out = (self.name() for _ in range(5))
        going, still, trip = self.name(), self.name(), self.name()
        w = self.weights(inits, width, width)
        infos.append(helper.make_tensor_value_info(self.trips_name, TensorProto.INT64, []))
        body = helper.make_graph(
            [helper.make_node("MatMul", [before, w], [product]), helper.make_node("Tanh", [product], [after]),
             helper.make_node("Identity", [going], [still])], self.name(),
            [helper.make_tensor_value_info(trip, TensorProto.INT64, []), helper.make_tensor_value_info(going, TensorProto.BOOL, []),
             helper.make_tensor_value_info(before, TensorProto.FLOAT, ["N", width])],
            [helper.make_tensor_value_info(still, TensorProto.BOOL, []),
             helper.make_tensor_value_info(after, TensorProto.FLOAT, ["N", width])])
        nodes.append(helper.make_node("Loop", [self.trips_name, "", last], [out], body=body))
        return out

    @staticmethod
    def save(nodes, inits, inputs, outputs, path):
        infos = [helper.make_tensor_value_info(o, TensorProto.FLOAT, ["N", None]) for o in outputs]
        model = helper.make_model(helper.make_graph(nodes, "g", inputs, infos, inits),
                                  opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.save(model, path)

    def write_inputs(self, index=None, trips=3):
        values = {self.input_name: ("x.npy", self.x), self.index_name: ("i.npy", self.index if index is None else index)}
        if self.trips_name is not None:
            values[self.trips_name] = ("t.npy", np.array(trips, np.int64))
        for file, value in values.values():
            np.save(os.path.join(self.folder, file), value)
        return [(name, os.path.join(self.folder, file)) for name, (file, _) in values.items()]

    def prepare(self, services, trips=(3,)):
        """Decomposes, pushes, and runs here, with the values on the way as outputs, to know what to look for; once for each number of trips.
        results[n]: the right one of n trips."""
        computed, self.results = [], {}
        for source, key in (("open.onnx", "open"), ("m.onnx", "sealed")):
            folder = os.path.join(self.folder, key)
            must(run("eml", "decompose", os.path.join(self.folder, source), "-o", folder))
            for n in trips:
                inputs = [f"--input={name}={file}" for name, file in self.write_inputs(trips=n)]
                out = os.path.join(self.folder, f"{key}.{n}")
                must(run("eml", "run", "--topology", folder + "/topology.key", "--weights", folder + "/weights.sealed", *inputs,
                         "--output", out))
                computed += [np.load(os.path.join(out, f)) for f in os.listdir(out)]
                self.results[n] = np.load(os.path.join(out, self.output_name + ".npy"))
        stored_before = services.store_objects()
        must(run("eml", "push", os.path.join(self.folder, "sealed"), "--host", services.host))
        (stored,) = set(services.store_objects()) - set(stored_before)
        self.object_id = bytes.fromhex(os.path.basename(stored))  # the host has both
        with open(stored, "rb") as f:
            self.digest = hashlib.sha256(f.read()).digest()
        with open(os.path.join(self.folder, "sealed", "topology.key"), "rb") as f:
            key = f.read()
        self.key_digest = hashlib.sha256(key).digest()
        self.kinds = {
            "weight": [scan.markers_of(numpy_helper.to_array(t).tobytes()) for t in self.inits],
            "input": [scan.markers_of(self.x.tobytes())],
            "computed": [scan.markers_of(c.tobytes()) for c in computed],
            "name": [scan.markers_of(n.encode(), 1) for n in self.names],
            # The format's own words are in the program too.
            "topology key": [np.setdiff1d(scan.markers_of(key, 1), in_program())],
        }
        self.kinds = {k: np.concatenate(v) for k, v in self.kinds.items()}
        self.forget(np.concatenate([scan.markers_of(public, 1) for public in (self.object_id, self.digest)]))

    def forget(self, pieces):
        """These are not known by: they are public, or common to all topology keys."""
        self.kinds["topology key"] = np.setdiff1d(self.kinds["topology key"], np.array(sorted(pieces), np.uint64))
        self.markers = scan.Markers(*self.kinds.values())

    def learn(self, kind, data):
        """These bytes are looked for too."""
        self.kinds[kind] = np.union1d(self.kinds.get(kind, np.empty(0, np.uint64)), scan.markers_of(data, 1))
        self.markers = scan.Markers(*self.kinds.values())

    def explain(self, found):
        """{mapping: {kind of secret: how many markers of it}}"""
        return {name: {k: int(np.isin(v, list(hits)).sum()) for k, v in self.kinds.items() if np.isin(v, list(hits)).any()}
                for name, hits in found.items()}


@functools.cache
def in_program():
    with open(program("eml-enclaved-dev"), "rb") as f:
        return scan.markers_of(f.read(), 1)


def must(done):
    assert done.returncode == 0, done.stderr
