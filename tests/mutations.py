#!/usr/bin/python3
"""usage: mutations.py FOLDER [--jobs N] [--page PAGE] [WORD] | --apply: breaks the program on purpose, and demands that tests notice.

For each row below, in a copy of the tree (made in FOLDER; N of them, default 1, that share the rows): what the test needs is built
and the test must pass; then the old text is replaced by the new, and the test must fail; FOLDER/ROW.log has what it said. It prints
a table; --page puts it into PAGE between <!-- mutations --> and <!-- end of mutations -->. Exit code 1 if a breakage went unnoticed,
or no longer applies. WORD: only rows that contain it. --apply: builds nothing, and only says whether all rows still apply to the
tree that this file is in.
"""
import concurrent.futures
import os
import queue
import shutil
import subprocess
import sys
import time

PROGRAMS = ["programs", "tenant"]


def c(name):
    return [name], [f"build/tests/{name}"], {}


def script(name, *tests, **env):
    return PROGRAMS, ["/usr/bin/python3", f"tests/prop/{name}.py", *tests], env


# property, what is broken, [(file, old, new)], (targets, command, environment)
MUTATIONS = [
    (1, "sealed sizes are not rounded up to a size class",
     [("src/blob/blob.c", "return (n + mask) & ~mask;", "return n + 0 * mask;")], script("prop_01_leakage", "Leakage.test_size_classes")),
    (2, "the checker takes operands of every type",
     [("client/onnx/check.c", "const uint32_t types = eml_op_info(op)->types;", "const uint32_t types = UINT32_MAX + 0 * (uint32_t)op;")],
     c("onnx.test_check")),
    (2, "of two transposes the second one's order is taken for both",
     [("client/decompose/simplify.c", "            perm[i] = inner[perm[i]];", "            perm[i] = perm[i] + 0 * inner[i];")], c("prop_02_passes")),
    (2, "a refusal names the node before the one that is not supported",
     [("client/onnx/check.c", "eml_check_add((c)->report, (c)->m, (c)->index, kind", "eml_check_add((c)->report, (c)->m, (c)->index - ((c)->index > 0), kind")],
     c("prop_02_models")),
    (3, "any nonce will do",
     [("src/attest/verify.c", "s->claims.nonce.ptr == NULL || !eml_ct_equal(s->claims.nonce, s->expect->nonce)",
       "s->claims.nonce.ptr == NULL")], c("prop_03_attestation")),
    (3, "PCRs of the policy are not compared",
     [("src/attest/verify.c", "!eml_bytes_equal(EML_BYTES(m->pcr[i].b), EML_BYTES(d->pcr[i].b)))", "false)")], c("prop_03_attestation")),
    (4, "an answer of KMS under another key is taken",
     [("src/aws/kms.c", "if (!eml_bytes_equal(eml_json_text(body, \"KeyId\"), call->key_arn))",
       "if (eml_json_text(body, \"KeyId\").ptr == NULL)")], c("aws.test_kms")),
    (4, "the linter takes a denial of some for one of everybody",
     [("src/keypolicy/lint.c", "return allowed != NULL && !any_name(allowed, is_spared_by, denied);",
       "return allowed != NULL || any_name(allowed, is_spared_by, denied);")], c("prop_04_key_policy")),
    (4, "a ciphertext of KMS opens in any context",
     [("mock/kmsd/cipher.c", "    return eml_json_print(context, aad);", "    return context != NULL ? EML_OK : EML_E_SYSTEM;")], c("prop_04_kms")),
    (5, "the stacks are not wiped at the end of a session",
     [("enclave/worker.c", "    eml_wipe_stack();\n", ""),
      ("src/engine/pool.c", "            eml_wipe_stack();\n            return NULL;", "            return NULL;")],
     script("prop_05_10_memory", EML_CASES="12")),
    (5, "request mode sweeps nothing up between two requests",
     [("enclave/worker.c", "        eml_pool_wipe(w->pool);\n", "        (void)w;\n"),
      ("enclave/message.c", "    eml_channel_forget(w->channel);", "    (void)w;")],
     script("prop_05_10_endings", "Endings.test_between_requests", EML_CASES="1")),
    (5, "a result leaves while its request is still in the arena",
     [("enclave/infer.c", "    if (w->mode == EML_MODE_REQUEST)\n        forget_the_rest(", "    if (w->mode > EML_MODE_SESSION)\n        forget_the_rest(")],
     c("enclave.test_worker")),
    (5, "the last record of a request stays where the channel opened it",
     [("enclave/message.c", "    eml_channel_forget(w->channel);", "    (void)w->channel;")], c("enclave.test_worker")),
    (10, "a session's end leaves the channel in memory",
     [("enclave/worker.c", "    eml_channel_wipe(channel);\n    w->channel = NULL;\n    eml_channel_free(channel);\n",
       "    (void)channel;\n    w->channel = NULL;\n")],
     script("prop_05_10_endings", "Endings.test_success", EML_CASES="1")),
    (10, "the arena forgets what it handed out without wiping it",
     [("src/base/arena.c", "    if (from >= to)\n", "    if (a != NULL)\n"), ("src/base/arena.c", "    eml_wipe(was.base, was.peak);\n", "")],
     script("prop_05_10_memory", EML_CASES="12")),
    (10, "a grown buffer leaves its old bytes on the heap",
     [("src/base/bytes.c", "    if (b->ptr != NULL)\n        eml_wipe(b->ptr, b->cap);\n    free(b->ptr);\n    b->ptr = p;",
       "    free(b->ptr);\n    b->ptr = p;")], c("prop_11_allocations")),
    (10, "the exposure window is stated too short",
     [("src/assemble/assemble.c", "times);\n    times->exposure = now_ns() - start;", "times);\n    times->exposure = (now_ns() - start) / 2;")],
     script("prop_05_10_exposure", EML_CASES="3")),
    (10, "the exposure window begins when the run is over",
     [("src/assemble/assemble.c", "times);\n    times->exposure = now_ns() - start;", "times);\n    times->exposure = now_ns() - t + 0 * start;")],
     script("prop_05_10_exposure", EML_CASES="3")),
    (6, "the tag of a record is not looked at",
     [("src/channel/records.c", "eml_bulk_open(&d->key, &nonce, EML_BYTES(length), record,",
       "eml_bulk_open_part(&d->key, &nonce, 0, eml_bytes(record.ptr, used),")], c("prop_06_channel")),
    (6, "records are as long as what is in them",
     [("src/channel/records.c", "        i++;\n    return buckets[i];", "        i++;\n    return used;")], c("prop_06_channel")),
    (7, "records are sealed with a cipher that changes nothing",
     [("src/channel/records.c", "    eml_wipe(d->plain, bucket);\n    d->used = 0;\n    return EML_OK;\n",
       "    memcpy(room, d->plain, bucket);\n    eml_wipe(d->plain, bucket);\n    d->used = 0;\n    return EML_OK;\n"),
      ("src/channel/records.c", "    if (e != EML_OK)\n        return eml_channel_break(ch, e, why, \"record: not sealed by the peer for this place\");\n",
       "    (void)e;\n    memcpy(d->plain, record.ptr, used);\n")],
     script("prop_06_07_14_view", "View.test_all_that_the_host_has", EML_CASES="3")),
    # Behind the first MiB of a connection only: all that sets the test up is smaller.
    (8, "the host changes a byte of what it forwards",
     [("host/relay.c", "    ssize_t n = send(d->to, d->buf + d->at, d->len, MSG_DONTWAIT | MSG_NOSIGNAL);",
       "    if (d->moved > 1u << 20)\n        d->buf[d->at + d->len - 1] ^= 1;\n"
       "    ssize_t n = send(d->to, d->buf + d->at, d->len, MSG_DONTWAIT | MSG_NOSIGNAL);")],
     script("prop_08_09_host", "HostileHost.test_forwards_unmodified")),
    (9, "the digest of the sealed object is not compared",
     [("src/blob/blob.c", "if (memcmp(digest, info->digest, sizeof info->digest) != 0)", "if (digest == info->digest)")],
     c("assemble.test_assemble")),
    (9, "tags are left alone in a file that others may write to",
     [("src/assemble/assemble.c", "m->sealed_in == EML_SEALED_FIXED ?", "m->sealed_in <= EML_SEALED_FIXED ?")],
     c("assemble.test_assemble")),
    (9, "weights older than the least version are taken",
     [("src/topology/topology.c", "if (t->min_version > t->blob.version)", "if (t->min_version > t->blob.version && t->blob.version == 0)")],
     c("topology.test_topology")),
    (9, "a topology key older than remembered is taken", [("client/remote/memory.c", "    if (a.model == OLDER)", "    if (a.model == OLDER && m == NULL)")],
     script("prop_09_13_rollback", "Histories", EML_CASES="16")),
    (9, "a policy older than remembered is taken", [("client/remote/memory.c", "    if (a.policy == OLDER)", "    if (a.policy == OLDER && m == NULL)")],
     script("prop_09_13_rollback", "Histories", EML_CASES="16")),
    (9, "an image older than remembered is taken", [("client/remote/memory.c", "    if (a.image == OLDER)", "    if (a.image == OLDER && m == NULL)")],
     script("prop_09_13_rollback", "OlderImage", EML_CASES="5")),
    (9, "an image has the version of the first image that its policy lists",
     [("src/attest/verify.c", "s->image_version = m->version;", "s->image_version = s->policy->accept[0].version;")],
     script("prop_09_13_rollback", "OlderImage", EML_CASES="50")),
    (9, "another topology key of the version remembered is taken", [("client/remote/memory.c", "if (a->model == OTHER)", "if (a->model == OTHER && m == NULL)")],
     script("prop_09_13_rollback", "Histories", EML_CASES="16")),
    (9, "another policy of the serial remembered is taken", [("client/remote/memory.c", "    if (a->policy == OTHER)", "    if (a->policy == OTHER && m == NULL)")],
     script("prop_09_13_rollback", "Histories", EML_CASES="16")),
    (9, "what was seen is not written down", [("client/remote/remember.c", "    if (e == EML_OK && changed)\n        e = eml_file_write_atomic", "    if (e == EML_OK && !changed)\n        e = eml_file_write_atomic")],
     script("prop_09_13_rollback", "Histories", EML_CASES="16")),
    (9, "sessions at one time put back what another has seen", [("client/remote/remember.c", "    EML_TRY(lock(path, &fd, why));\n", "    (void)lock;\n")],
     c("remote.test_remember")),
    (13, "a log older than remembered is taken", [("client/remote/memory.c", "    if (a.log == OLDER)", "    if (a.log == OLDER && m == NULL)")],
     script("prop_09_13_rollback", "WholeHost")),
    (11, "an allocation that failed is used",
     [("src/base/bytes.c", "    if (p == NULL) {\n        b->failed = true;\n        return false;\n    }\n    if (b->len", "    if (b->len")],
     c("prop_11_allocations")),
    (11, "slots may overlap", [("src/model/check.c", "EML_TRY(check_overlaps(c));", "(void)check_overlaps;")], script("prop_11_tenant", EML_CASES="5")),
    (11, "an index from a request is not compared with its dimension",
     [("src/engine/indices.h", "if (at < -n || at >= n)", "if (at < -n && at > n)")], script("prop_11_tenant", EML_CASES="5")),
    (11, "loops run as often as they ask to",
     [("src/engine/dynamic_body.c", "if (++r->iterations > EML_ITERATIONS_MAX)", "if (++r->iterations > UINT64_MAX / 2)")], c("engine.test_dynamic")),
    (12, "the enclave's error says more than its class",
     [("enclave/message.c", "{(uint8_t) class};", "{(uint8_t) class, w->mode};")],
     (["zones.test_enclave", "programs"], ["build/tests/zones/zones.test_enclave", "build/enclave/eml-enclaved-dev", "build/mock/pki/eml-devpki"], {})),
    (13, "a receipt holds with the log's record of another",
     [("src/receipt/verify.c", "if (!eml_bytes_equal(r->bytes[EML_INFERENCE_RECEIPT], EML_BYTES(digest.b)))", "if (digest.b[0] != digest.b[0])")],
     c("prop_13_receipt")),
    (13, "an inference that failed is not recorded",
     [("enclave/broker_record.c", "    return eml_broker_record(b, s, inference);",
       "    return outcome == EML_OK ? eml_broker_record(b, s, inference) : 0;")],
     script("prop_13_events", "Events")),
    (13, "a limit of a request is not recorded",
     [("enclave/broker_record.c", "else if (r->err == EML_E_REFUSED && !s->refused)", "else if (r->err == EML_E_REFUSED && s->refused)")],
     script("prop_13_events", "Limits")),
    (13, "a worker's crash is not recorded",
     [("enclave/broker_child.c", "else if (signal != 0 && signal != SIGKILL)", "else if (signal != 0 && signal != SIGKILL && signal != SIGSEGV)")],
     script("prop_13_events", "Events")),
    (14, "a worker may open files",
     [("enclave/sandbox.c", "    SCMP_SYS(getpid),\n", "    SCMP_SYS(getpid),        SCMP_SYS(openat),\n")], c("enclave.test_sandbox")),
    (14, "calls of the 32-bit table end a worker's thread only",
     [("enclave/sandbox.c", "SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)", "SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_THREAD)")],
     c("enclave.test_sandbox")),
    (14, "the broker leaves a file behind",
     [("enclave/broker_record.c", "#include \"enclave/broker_state.h\"\n", "#include \"enclave/broker_state.h\"\n#include <stdio.h>\n"),
      ("enclave/broker_record.c", "    return eml_broker_record(b, s, inference);", "    FILE *f = fopen(\"/dev/shm/left-behind\", \"w\");\n"
       "    if (f != NULL)\n        (void)fclose(f);\n    return eml_broker_record(b, s, inference);")],
     script("prop_06_07_14_view", "View.test_no_file_is_opened_for_writing")),
]


def copy_tree(tree):
    files = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout.decode().split("\0")[:-1]
    for f in files:
        target = os.path.join(tree, f)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target) or read(f) != read(target):
            shutil.copy2(f, target)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def run(tree, args, env=None):
    """None: it took too long."""
    try:
        return subprocess.run(args, cwd=tree, env=dict(os.environ, **(env or {})), capture_output=True, check=False, timeout=1200)
    except subprocess.TimeoutExpired:
        return None


def why_not(tree, edits):
    """None if each edit's old text is in its file, once."""
    for path, old, _ in edits:
        n = read(os.path.join(tree, path)).decode().count(old)
        if n != 1:
            return f"`{old.strip()}` stands {n} times in {path}"
    return None


def apply(tree, edits):
    problem = why_not(tree, edits)
    for path, old, new in edits if problem is None else []:
        path = os.path.join(tree, path)
        text = read(path).decode()
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))
    return problem


def all_apply():
    tree = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    problems = [f"{prop} {what}: {problem}" for prop, what, edits, _ in MUTATIONS if (problem := why_not(tree, edits))]
    print("\n".join(problems) or f"{len(MUTATIONS)} breakages apply")
    return 1 if problems else 0


def build_and_run(tree, targets, command, env, log):
    """What is wrong, if the test could not be built or did not end; else None. And whether it passed; what it said is in the log."""
    built = run(tree, ["ninja", "-C", "build", *targets])
    if built is None or built.returncode != 0:
        return "does not build: " + (built.stdout.decode()[-600:] if built else ""), False
    done = run(tree, command, {"EML_BIN": os.path.join(tree, "build"), "PYTHONDONTWRITEBYTECODE": "1", "EML_SHRINK": "0", **env})
    if done is None:
        return "the test did not end", False
    with open(log, "wb") as f:
        f.write(done.stdout + done.stderr)
    return None, done.returncode == 0


def try_one(tree, edits, test, sound, log):
    """What came of it: "caught", or what is wrong. `sound`: the tests that have passed on a tree that is not broken."""
    if test not in sound:
        problem, passed = build_and_run(tree, *test.parts, log)
        if not passed:
            return "without the breakage: " + (problem or "the test fails")
        sound.add(test)
    before = {path: read(os.path.join(tree, path)) for path, _, _ in edits}
    problem = apply(tree, edits)
    if problem is None:
        problem, passed = build_and_run(tree, *test.parts, log)
        problem = problem or ("NOT NOTICED" if passed else "caught")
    for path, text in before.items():
        with open(os.path.join(tree, path), "wb") as f:
            f.write(text)
    return problem


class Test:
    """Targets, command and environment; equal if these are."""

    def __init__(self, parts):
        self.parts = parts
        self.name = os.path.basename(next(x for x in parts[1] if "/tests/" in "/" + x))

    def __eq__(self, other):
        return self.parts == other.parts

    def __hash__(self):
        return hash(repr(self.parts))


def make_tree(folder, number):
    tree = os.path.join(os.path.abspath(folder), f"tree-{number}")
    copy_tree(tree)
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    # Some breakages leave a variable or function without use: that is for the tests to notice, not the compiler.
    subprocess.run(["cmake", "-G", "Ninja", "-S", ".", "-B", "build", "-DEML_WERROR=OFF", *launcher], cwd=tree, check=True,
                   stdout=subprocess.DEVNULL)
    return tree


def table(folder, jobs, word):
    """Lines of the table, and how many rows were not caught."""
    trees, sound = queue.SimpleQueue(), set()
    for number in range(jobs):
        trees.put(make_tree(folder, number))

    def one(number, row):
        prop, what, edits, parts = row
        test = Test(parts)
        if word not in f"{prop} {what} {test.name}":
            return None
        tree, start = trees.get(), time.monotonic()
        outcome = try_one(tree, edits, test, sound, os.path.join(folder, f"{number}.log"))
        trees.put(tree)
        line = f"| {prop} | {what} | `{test.name}` | {outcome} |"
        print(line, f"{time.monotonic() - start:.0f} s, {number}.log", file=sys.stderr, flush=True)
        return line

    with concurrent.futures.ThreadPoolExecutor(jobs) as workers:
        rows = sorted(MUTATIONS, key=lambda m: m[0])
        lines = [x for x in workers.map(one, range(len(rows)), rows) if x is not None]
    return ["| # | what is broken | test | |", "|---|---|---|---|", *lines], sum(not x.endswith("| caught |") for x in lines)


def main():
    args = sys.argv[1:]
    if args == ["--apply"]:
        return all_apply()
    options = {}
    for name in "--page", "--jobs":
        if name in args[:-1]:
            at = args.index(name)
            options[name] = args[at + 1]
            del args[at:at + 2]
    if not 1 <= len(args) <= 2 or any(a.startswith("-") for a in args):
        sys.exit(__doc__)
    lines, unnoticed = table(args[0], int(options.get("--jobs", 1)), args[1] if len(args) > 1 else "")
    print("\n".join(lines))
    if "--page" in options:
        text = read(options["--page"]).decode()
        before, rest = text.split("<!-- mutations -->", 1)
        after = rest.split("<!-- end of mutations -->", 1)[1]
        with open(options["--page"], "w", encoding="utf-8") as f:
            f.write(before + "<!-- mutations -->\n" + "\n".join(lines) + "\n<!-- end of mutations -->" + after)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
