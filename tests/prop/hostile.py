"""Topology keys and requests of a tenant who means harm.

`cases` yields (name, [request bytes of one session], outcomes that are right), by hand for each kind of malice and then at random: edits
of a sound key. A kind by hand comes with its sound twin, which differs in the one number that is malicious, and must give a result: so
what is refused is refused for that number.
"""
import os
import random
import re
import struct

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "model")
F32, I64, BOOL, LIST = 1, 7, 9, 64
MAX = 2**63 - 1


def rows(name, word):
    with open(os.path.join(SOURCE, name), encoding="utf-8") as f:
        return {m: i for i, m in enumerate(re.findall(rf"^{word}\((\w+)", f.read(), re.M))}


OP, ATTR = rows("ops.def", "OP"), rows("attrs.def", "ATTR")

# --- CBOR (RFC 8949), as much as the formats need ---


class Raw(bytes):
    """Bytes that are an encoding already, canonical or not."""


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 1 << 8 * size:
            return bytes([major << 5 | code]) + n.to_bytes(size, "big")
    raise ValueError(n)


def cbor(x):
    if isinstance(x, Raw):
        return bytes(x)
    if x is None:
        return b"\xf6"
    if isinstance(x, int):
        return head(0, x) if x >= 0 else head(1, -1 - x)
    if isinstance(x, (bytes, bytearray)):
        return head(2, len(x)) + bytes(x)
    if isinstance(x, str):
        return head(3, len(x.encode())) + x.encode()
    if isinstance(x, dict):
        return head(5, len(x)) + b"".join(cbor(k) + cbor(x[k]) for k in sorted(x))
    return head(4, len(x)) + b"".join(map(cbor, x))


def parse(data, at=0):
    """(item, end)"""
    major, n = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return None, at
    if n >= 24:
        size = 1 << n - 24
        n, at = int.from_bytes(data[at:at + size], "big"), at + size
    if major < 2:
        return (n if major == 0 else -1 - n), at
    if major < 4:
        piece = data[at:at + n]
        return (piece if major == 2 else piece.decode()), at + n
    items = []
    for _ in range(n * (major - 3)):
        item, at = parse(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


# --- keys ---

MAGIC, BLOB, MIN_VERSION, MEMORY, FLOPS, VALUES, NODES, INPUTS, OUTPUTS, BODIES = range(10)
OBJECT, MODEL, VERSION, CHUNKS, PLAIN, CIPHER, SEAL, DIGEST = range(8)


class Graph:
    def __init__(self):
        self.values, self.nodes = [], []

    def value(self, item):
        self.values.append(item)
        return len(self.values) - 1

    def ints(self, *v):
        return self.value([3, list(v)])

    def scalar(self, v):
        return self.value([3, v])

    def slot(self, dtype, shape, offset=0, size=None, layout=0):
        count = 1
        for d in shape:
            count *= d
        return self.value([2, dtype, shape, layout, offset, count * (4 if dtype == F32 else 8) % 2**64 if size is None else size])

    def node(self, op, operands, attrs=None, dtype=F32, params=None, outputs=1):
        """The first of its results; the others follow."""
        first = len(self.values)
        self.values += [dtype] * outputs if isinstance(dtype, int) else list(dtype)
        results = list(range(first, len(self.values)))
        named = {ATTR[k]: v if isinstance(v, list) else [v] for k, v in (attrs or {}).items()}
        self.nodes.append([OP[op] if isinstance(op, str) else op, list(operands), results, named, params])
        return first


class Body(Graph):
    def __init__(self, *dtypes):
        super().__init__()
        self.inputs = [self.value([1, t, []]) for t in dtypes]

    def done(self, *outputs):
        return [self.values, self.nodes, self.inputs, list(outputs)]


class Key(Graph):
    """A whole, around the sealed weights that `sound`, a decomposed model's key, opens."""

    def __init__(self, sound):
        super().__init__()
        self.whole = parse(sound)[0]
        self.blob = self.whole[BLOB]
        self.inputs, self.outputs, self.bodies, self.memory, self.flops = [], [], [], 0, 0

    def input(self, name, dtype, shape):
        self.inputs.append([name, self.value([1, dtype, shape])])
        return self.inputs[-1][1]

    def output(self, value):
        self.outputs.append([f"y{len(self.outputs)}", value])

    def tree(self):
        return [self.whole[MAGIC], self.blob, self.whole[MIN_VERSION], self.memory, self.flops, self.values, self.nodes, self.inputs,
                self.outputs, self.bodies]

    def encode(self):
        return cbor(self.tree())


def floats(name="x", *dims, fill=1.0):
    count = 1
    for d in dims:
        count *= d
    return [name, F32, list(dims), struct.pack("<f", fill) * count]


def integers(name, *v, dims=None):
    return [name, I64, [len(v)] if dims is None else dims, struct.pack(f"<{len(v)}q", *v)]


def request(key, *tensors, mode=0, **other):
    r = {1: mode, 3: list(tensors), 5: b"s" * 32}
    if key is not None:
        r[2] = key if isinstance(key, bytes) else key.encode()
    for k, v in other.items():
        r[int(k[1:])] = v
    return cbor(r)


# --- malice by hand: each function makes the sound twin of `bad=None` ---

REFUSALS = {"bad input", "refused by policy", "unsupported"}
KINDS = []


def kind(*bad, outcomes=frozenset(REFUSALS)):
    def add(f):
        KINDS.append((f, bad, outcomes))
        return f
    return add


def relu(sound):
    k = Key(sound)
    x = k.input("x", F32, [None, 4])
    k.output(k.node("RELU", [x]))
    return k


def added(sound, a, b):
    """y = x + a + b of two slots of 32 floats; a, b: what differs from the sound slots."""
    k = Key(sound)
    x = k.input("x", F32, [32])
    s = [k.slot(F32, **{"shape": [32], "offset": 0, **a}), k.slot(F32, **{"shape": [32], "offset": 128, **b})]
    k.output(k.node("ADD", [k.node("ADD", [x, s[0]]), s[1]]))
    return request(k, floats("x", 32))


@kind({"offset": 64}, {"offset": 2**40}, {"offset": 2**63 - 64}, {"offset": 2**64 - 128}, {"offset": 129}, {"size": 64}, {"size": 2**63},
      {"size": 2**64 - 64}, {"shape": [33]}, {"shape": [2**61, 2]}, {"shape": [2**62, 4], "size": 0}, {"layout": 1}, {"layout": 77},
      {"shape": [1] * 9 + [32], "size": 128}, outcomes={"bad input"})
def slots(sound, bad):
    return added(sound, {}, bad or {})


@kind("last", "far", "own", "again", "unwritten", "huge", "absent", outcomes={"bad input"})
def order(sound, bad):
    k = Key(sound)
    x = k.input("x", F32, [None, 4])
    a = k.node("RELU", [x])
    b = k.node("ADD", [a, x])
    k.output(b)
    if bad in ("last", "own"):
        k.nodes[0][1] = [b if bad == "last" else a]
    elif bad in ("far", "huge", "absent"):
        k.nodes[1][1] = [a, {"far": 3, "huge": 2**32 - 1, "absent": None}[bad]]
    elif bad == "again":
        k.nodes[1][2] = [a]
    elif bad == "unwritten":
        k.output(k.value(F32))
    return request(k, floats("x", 2, 4))


@kind({NODES: "op"}, {NODES: "attr"}, {NODES: "params"}, {NODES: "outputs"}, {NODES: "inputs"}, {NODES: "results"}, {VALUES: "dtype"}, {MIN_VERSION: 2**64 - 1},
      {OUTPUTS: "none"}, {OUTPUTS: "twice"}, {INPUTS: "twice"}, {INPUTS: "long"}, {INPUTS: "text"}, {INPUTS: "node"}, {BODIES: "idle"},
      {BLOB: "chunks"}, {BLOB: "plain"}, {BLOB: "cipher"}, {BLOB: "key"}, outcomes={"bad input"})
def grammar(sound, bad):
    k = relu(sound)
    t = k.tree()
    what = next(iter((bad or {}).values()), None)
    if what == "op":
        t[NODES][0][0] = len(OP)
    elif what == "attr":
        t[NODES][0][3] = {ATTR["AXIS"]: [0]}
    elif what == "params":
        t[NODES][0][4] = 0
    elif what == "outputs":
        t[NODES][0][2] = []
    elif what == "inputs":
        t[NODES][0][1] = [0] * 1025
    elif what == "results":
        t[NODES][0][2] = [1] * 257
    elif what == "dtype":
        t[VALUES][0][1] = 23
    elif isinstance(what, int):
        t[MIN_VERSION] = what
    elif what == "none":
        t[OUTPUTS] = []
    elif what == "twice":
        (part,) = bad
        t[part] = t[part] * 2
    elif what in ("long", "text", "node"):
        t[INPUTS] = [["x" * 513, 0] if what == "long" else [Raw(b"\x61\xff"), 0] if what == "text" else ["x", 1]]
    elif what == "idle":
        t[BODIES] = [Body().done(0)]
    elif bad:
        field = {"chunks": CHUNKS, "plain": PLAIN, "cipher": CIPHER, "key": SEAL}[what]
        t[BLOB][field] = {"chunks": 3 * 2**40, "plain": 2**64 - 1, "cipher": 99, "key": b"short"}[what]
    return request(cbor(t), floats("x", 2, 4))


@kind("longer", "indefinite", "array", "string", "deep", "tag", "float", "cut", "rest", "empty", outcomes={"bad input"})
def encoding(sound, bad):
    k = relu(sound)
    key, t = k.encode(), k.tree()
    if bad == "longer":
        t[MEMORY] = Raw(b"\x18\x00")
    elif bad == "indefinite":
        t[NODES] = Raw(b"\x9f\xff")
    elif bad in ("array", "string"):
        t[NODES] = Raw((b"\x9b" if bad == "array" else b"\x5b") + b"\xff" * 8)
    elif bad == "deep":
        t[NODES] = Raw(b"\x81" * 200000)
    elif bad in ("tag", "float"):
        t[FLOPS] = Raw(b"\xc1\x00" if bad == "tag" else b"\xfb" + bytes(8))
    key = {"cut": key[:-1], "rest": key + b"\0", "empty": b""}.get(bad) if bad in ("cut", "rest", "empty") else cbor(t)
    return request(key, floats("x", 2, 4))


def loop(k, trips, body, states, result=F32, go_on=None):
    """A Loop over bodies[0]; its first state, at the end, is an output."""
    k.bodies.append(body)
    k.output(k.node("LOOP", [trips, go_on, *states], {"BODY": len(k.bodies) - 1}, dtype=result))
    return k


def counting(n=1):
    """i, condition, state -> condition, state + state"""
    b = Body(I64, BOOL, *[F32] * n)
    return b, [b.node("ADD", [s, s]) for s in b.inputs[2:]]


@kind("own", "two", "beyond", "negative", "deep", "states", "outputs", "captures", outcomes={"bad input"})
def bodies(sound, bad):
    k = Key(sound)
    x = k.input("x", F32, [4])
    b, out = counting()
    if bad == "own":
        b.node("LOOP", [0, 1, 2], {"BODY": 0})
    body = b.done(1, *out) if bad != "outputs" else b.done(1)
    if bad == "deep":
        for depth in range(9):
            inner = Body(I64, BOOL, F32)
            inner_out = inner.node("LOOP", [0, 1, 2], {"BODY": depth + 1})
            k.bodies.append(inner.done(1, inner_out))
    loop(k, k.scalar(3), body, [x] if bad != "states" else [x, x])
    if bad == "deep":
        k.nodes[0][3] = {ATTR["BODY"]: [0]}
    elif bad == "two":
        k.output(k.node("LOOP", [k.scalar(1), None, x], {"BODY": 0}))
    elif bad in ("beyond", "negative"):
        k.nodes[0][3] = {ATTR["BODY"]: [{"beyond": 7, "negative": -1}[bad]]}
    elif bad == "captures":
        k.nodes[0][3][ATTR["CAPTURES"]] = [MAX]
    return request(k, floats("x", 4))


# Shapes out of numbers: in the key, and once more in an input, where the enclave meets them only when it runs.
@kind(*[(where, op, bad) for where in ("key", "input") for op, bad in [
    ("EXPAND", [2**40]), ("EXPAND", [2**62, 4]), ("EXPAND", [2**32, 2**32, 1]), ("EXPAND", [-5]), ("TILE", [2**62]), ("TILE", [-1]),
    ("RESHAPE", [2**32, 2**32, -1]), ("RESHAPE", [-1, -1]), ("RESHAPE", [-2**62, -4]), ("CONSTANT_OF_SHAPE", [2**62]),
    ("CONSTANT_OF_SHAPE", [2**31, 2**31, 4]), ("CONSTANT_OF_SHAPE", [-1]), ("CONSTANT_OF_SHAPE", [1] * 9), ("PAD", [2**62, 2**62]),
    ("PAD", [-MAX, 0]), ("PAD", [-5, -5]), ("TOP_K", [5]), ("TOP_K", [-1]), ("TOP_K", [2**62]), ("SPLIT", [2**62, 2**62]),
    ("SPLIT", [-4, 8]), ("SPLIT", [3, 2]), ("ONE_HOT", [2**62]), ("ONE_HOT", [-3]), ("RANGE", [2**62]), ("RANGE", [2**40])]])
def shapes(sound, bad):
    fits = {"EXPAND": [3, 4], "TILE": [3], "RESHAPE": [2, -1], "CONSTANT_OF_SHAPE": [4, 2], "PAD": [1, 2], "TOP_K": [2], "SPLIT": [1, 3],
            "ONE_HOT": [5], "RANGE": [6]}
    if bad is None:
        return [shapes(sound, (where, op, v)) for where in ("key", "input") for op, v in fits.items()]
    where, op, v = bad
    k = Key(sound)
    x = k.input("x", F32, [4])
    one = op in ("ONE_HOT", "RANGE")
    if where == "key":
        n = k.scalar(v[0]) if one else k.ints(*v)
        given = [floats("x", 4)]
    else:
        n = k.input("n", I64, [] if one else [None])
        given = [floats("x", 4), integers("n", *v, dims=[] if one else None)]
    if op == "ONE_HOT":
        k.output(k.node(op, [k.ints(0, 1, 2), n, k.slot(F32, [2])]))
    elif op == "RANGE":
        k.output(k.node(op, [k.scalar(0), n, k.scalar(1)], dtype=I64))
    elif op == "CONSTANT_OF_SHAPE":
        k.output(k.node(op, [n]))
    elif op == "SPLIT":
        k.output(k.node(op, [x, n], outputs=2))
    elif op == "TOP_K":
        k.output(k.node(op, [x, n], dtype=[F32, I64], outputs=2))
    else:
        k.output(k.node(op, [x, n]))
    if where == "key":
        k.output(k.node("RELU", [x]))
    return request(k, *given)


@kind(*[(op, v) for op in ("GATHER", "GATHER_ELEMENTS", "GATHER_ND", "SCATTER_ELEMENTS", "SCATTER_ND", "ADD_AT")
        for v in (4, -5, MAX, -2**63, 2**32, 2**62)])
def indices(sound, bad):
    """Known only when the request is there."""
    if bad is None:
        return [indices(sound, (op, v)) for op in ("GATHER", "GATHER_ELEMENTS", "GATHER_ND", "SCATTER_ELEMENTS", "SCATTER_ND", "ADD_AT")
                for v in (3, -4)]
    op, v = bad
    k = Key(sound)
    x, u = k.input("x", F32, [4]), k.input("u", F32, [2])
    nd = op in ("GATHER_ND", "SCATTER_ND", "ADD_AT")
    i = k.input("i", I64, [2, 1] if nd else [2])
    scatter = op in ("SCATTER_ELEMENTS", "SCATTER_ND", "ADD_AT")
    k.output(k.node("SCATTER_ND" if op == "ADD_AT" else op, [x, i, u] if scatter else [x, i], {"REDUCTION": 1} if op == "ADD_AT" else None))
    if not scatter:
        k.output(k.node("RELU", [u]))
    return request(k, floats("x", 4), floats("u", 2), integers("i", 0, v, dims=[2, 1] if nd else None))


@kind(("steps", 0), ("axes", 1), ("axes", -2), ("axes", MAX), outcomes=REFUSALS)
def slices(sound, bad):
    """Bounds are clamped by definition; axes and steps are not."""
    if bad is None:
        bounds = [(-2**63, MAX, 1), (MAX, -2**63, -1), (MAX, -2**63, -2**63), (2**62, -2**62, MAX), (-1, 0, -MAX)]
        return [slices(sound, ("all", b)) for b in bounds]
    start, end, step, axis = 0, 4, 1, 0
    if bad[0] == "all":
        start, end, step = bad[1]
    elif bad[0] == "steps":
        step = bad[1]
    else:
        axis = bad[1]
    k = Key(sound)
    x = k.input("x", F32, [4])
    k.output(k.node("SLICE", [x, *[k.input(n, I64, [1]) for n in ("starts", "ends", "axes", "steps")]]))
    return request(k, floats("x", 4), integers("starts", start), integers("ends", end), integers("axes", axis), integers("steps", step))


@kind(2**62, 10**8, "while", "grow", "collect", outcomes={"refused by policy", "ended"})
def bombs(sound, bad):
    k = Key(sound)
    x, n = k.input("x", F32, [1024]), k.input("n", I64, [])
    b = Body(I64, BOOL, F32)
    state = b.node("CONCAT", [2, 2], {"AXIS": 0}) if bad == "grow" else b.node("RELU", [2])
    collect = bad == "collect"
    k.bodies.append(b.done(1, state, *([state] if collect else [])))
    k.output(k.node("LOOP", [None if bad == "while" else n, None, x], {"BODY": 0}, outputs=1 + collect))
    return request(k, floats("x", 1024), integers("n", bad if isinstance(bad, int) else 2**40 if bad else 5, dims=[]))


@kind(62, 40, 30, outcomes={"refused by policy", "bad input", "ended"})
def doubling(sound, bad):
    k = Key(sound)
    x = k.input("x", F32, [None])
    for _ in range(bad or 8):
        x = k.node("CONCAT", [x, x], {"AXIS": 0})
    k.output(x)
    return request(k, floats("x", 16))


@kind({"memory": 1}, {"memory": 64}, {"flops": 1}, outcomes={"refused by policy"})
def budgets(sound, bad):
    if bad is None:
        return [budgets(sound, b) for b in ({"memory": 2**64 - 1}, {"flops": 2**64 - 1}, {"memory": 2**63, "flops": 2**63}, {})]
    k = relu(sound)
    k.memory, k.flops = bad.get("memory", 0), bad.get("flops", 0)
    return request(k, floats("x", 50, 4))


@kind((OBJECT, "bad input"), (DIGEST, "not authentic"), (SEAL, "not authentic"), (MODEL, "not authentic"), (VERSION, "not authentic"))
def weights(sound, bad):
    k = Key(sound)
    x = k.input("x", F32, [32])
    k.output(k.node("ADD", [x, k.slot(F32, [32])]))
    if bad:
        old = k.blob[bad[0]]
        k.blob[bad[0]] = old + 1 if isinstance(old, int) else bytes([old[0] ^ 1]) + old[1:]
    return request(k, floats("x", 32))


@kind("no key", "mode", "name", "type", "dims", "length", "overflow", "zero", "many", "salt", "twice", "kms", "rank", "none", "unknown",
      outcomes={"bad input"})
def requests(sound, bad):
    k, x = relu(sound), floats("x", 2, 4)
    if bad == "kms":
        return cbor({1: 0, 4: {1: "arn:aws:kms:us-east-1:1:key/k", 2: b"b", 3: b"s"}})
    if bad in ("no key", "mode", "salt", "none", "unknown"):
        return {"no key": request(None, x), "mode": request(k, x, mode=2), "salt": request(k, x, _5=b"short"),
                "none": request(k), "unknown": request(k, x, _9=0)}[bad]
    if bad in ("name", "twice", "many"):
        return request(k, *{"name": [floats("z", 2, 4)], "twice": [x, x], "many": [floats(f"x{i}", 1) for i in range(257)]}[bad])
    if bad:
        x = {"type": ["x", I64, [1, 4], bytes(32)], "dims": floats("x", 2, 5), "length": ["x", F32, [2, 4], bytes(31)],
             "overflow": ["x", F32, [2**62, 4], b""], "zero": ["x", F32, [2**63, 4], b""], "rank": floats("x", *[1] * 8, 4)}[bad]
    return request(k, x)


# --- malice at random ---

NUMBERS = [0, 1, 2, 7, 63, 64, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, MAX, 2**63, 2**64 - 1, -1, -2, -2**31, -2**63]


def places(tree, found):
    items = enumerate(tree) if isinstance(tree, list) else tree.items()
    for at, item in items:
        found.append((tree, at))
        if isinstance(item, (list, dict)):
            places(item, found)
    return found


def edit(tree, rng):
    """One change of a number, or of what stands where; the seal key and the names of the formats stay."""
    found = []
    for part in (MEMORY, FLOPS, VALUES, NODES, INPUTS, OUTPUTS, BODIES):
        found.append((tree, part))
        if isinstance(tree[part], list):
            places(tree[part], found)
    where, at = rng.choice(found)
    old = where[at]
    how = rng.random()
    if isinstance(old, int) or old is None:
        small = rng.randint(0, 12)
        where[at] = small if how < 0.6 else rng.choice(NUMBERS) if how < 0.9 else None
    elif isinstance(old, list) and old:
        if how < 0.4:
            old.pop(rng.randrange(len(old)))
        elif how < 0.7:
            old.append(rng.choice(old))
        else:
            i, j = rng.randrange(len(old)), rng.randrange(len(old))
            old[i], old[j] = old[j], old[i]


def rich(sound):
    """A sound key with a bit of all: slots, packed weights, steering integers, indices, a body."""
    k = Key(sound)
    x, i = k.input("x", F32, [None, 4]), k.input("i", I64, [None])
    w, b = k.slot(F32, [4, 16], 0, 256, layout=1), k.slot(F32, [16], 256)
    y = k.node("ADD", [k.node("MATMUL", [x, w]), b])
    y = k.node("RESHAPE", [y, k.ints(-1, 4, 4)])
    y = k.node("TRANSPOSE", [y], {"PERM": [0, 2, 1]})
    y = k.node("SOFTMAX", [k.node("GATHER", [y, i], {"AXIS": 1})], {"AXIS": -1})
    y = k.node("SLICE", [y, k.ints(0), k.ints(3), k.ints(2), k.ints(1)])
    body, out = counting()
    loop(k, k.scalar(3), body.done(1, *out), [y])
    k.output(k.node("CONCAT", [y, y], {"AXIS": 0}))
    return k


ANY = frozenset({"result", "ended", "not authentic"} | REFUSALS)


def cases(sound, rng, n_random):
    for f, bads, outcomes in KINDS:
        twins = f(sound, None)
        for i, twin in enumerate(twins if isinstance(twins, list) else [twins]):
            yield f"{f.__name__} sound {i}", [twin], {"result"}
        for bad in bads:
            yield f"{f.__name__} {bad}", [f(sound, bad)], {bad[1]} if f is weights else outcomes
    tensors = floats("x", 3, 4, fill=0.5), integers("i", 0, 3, 1)
    yield "rich", [request(rich(sound), *tensors)], {"result"}
    for _ in range(n_random):
        seed, edits = rng.getrandbits(40), rng.randint(1, 4)
        requests = edited(sound, seed, edits)
        if requests:
            yield f"edited {seed} {edits}", requests, ANY


def edited(sound, seed, edits):
    """Requests with a key to which so many random things were done, the first of those that this seed gives. None: it is no CBOR,
    with two keys of one kind in a map or a number beyond 64 bits."""
    tree, rng = parse(rich(sound).encode())[0], random.Random(seed)
    for _ in range(edits):
        edit(tree, rng)
    try:
        key = cbor(tree)
    except (ValueError, TypeError):
        return None
    tensors = floats("x", 3, 4, fill=0.5), integers("i", 0, 3, 1)
    return [request(key, *tensors, mode=1), request(None, *tensors, mode=1)]
