"""Makes docs/audit/sample-report.html: real services, some work, some trouble, a restart.

usage: EML_BIN=build/dev python3 tests/integration/sample_report.py OUT.html"""
import os
import shutil
import sys
import tempfile

import numpy as np

import services


def main(out):
    s = services.Services(enclave_args=["--flops", 200000])
    try:
        np.save(s.path("x.npy"), np.ones((1, 16), np.float32))
        np.save(s.path("many.npy"), np.ones((64, 16), np.float32))
        for name, width in (("small", 24), ("wide", 600)):
            services.small_model(s.path(name + ".onnx"), width=width)
            services.run("eml", "decompose", s.path(name + ".onnx"), "-o", s.path(name))
            services.run("eml", "push", s.path(name), "--host", s.host)

        def infer(model, times=1, x="x", name="x"):
            mode = ["--mode", "session"] if times > 1 else []
            return s.infer(s.path(model), [(name, s.path(x + ".npy"))] * times, tempfile.mkdtemp(dir=s.dir), *mode).returncode

        assert [infer("small") for _ in range(12)] == [0] * 12
        assert infer("wide", 8) == 0
        assert infer("wide", x="many") != 0  # over the budget of operations
        assert infer("small", name="y") != 0  # no such input
        shutil.copy(s.path("audit/checkpoint"), s.path("remembered"))
        s.stop("enclave")
        for stored in s.store_objects():  # a host that alters what it stores
            with open(stored, "r+b") as f:
                f.seek(100)
                byte = f.read(1)
                f.seek(100)
                f.write(bytes([byte[0] ^ 1]))
        s.start_enclave()
        assert infer("small") != 0
        services.run("eml", "decompose", s.path("small.onnx"), "-o", s.path("again"))
        services.run("eml", "push", s.path("again"), "--host", s.host)
        assert infer("again", 20) == 0
        s.stop("enclave")
        done = services.run("eml", "audit", "report", s.path("audit"), "--format", "html", "--policy",
                            s.path("policy.json"), "--checkpoint", s.path("remembered"), cwd=s.dir)
        assert done.returncode == 0, done.stderr
        with open(out, "w", encoding="utf-8") as f:
            f.write(done.stdout.replace(s.dir + "/", ""))
    finally:
        s.close()


main(os.path.abspath(sys.argv[1]))
