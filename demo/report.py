#!/usr/bin/python3
"""usage: report.py checks|times REPORT.json [DECOMPOSE_MS]: prints a part of `eml infer --json`."""
import json
import sys


def checks(report):
    for c in report["checks"]:
        print(f"   {'ok' if c['passed'] else 'FAILED':7}{c['rule']}")


def times(report, decompose_ms):
    session, result = report["session"], report["results"][0]
    parts = sum(session[k] for k in ("attest_us", "handshake_us"))
    parts += sum(result[k] for k in ("weights_us", "assemble_us", "run_us", "wipe_us"))
    rest = session["total_us"] - parts
    rows = [
        ("decompose (once, by the owner)", decompose_ms * 1000),
        ("attest: connect, evidence, verify", session["attest_us"]),
        ("handshake: HPKE", session["handshake_us"]),
        ("get sealed weights", result["weights_us"]),
        ("assemble: decode, plan, decrypt", result["assemble_us"]),
        ("run", result["run_us"]),
        ("wipe", result["wipe_us"]),
        ("KMS (twice), transfer, files", rest),
        ("total, as the client sees it", session["total_us"]),
    ]
    for name, us in rows:
        print(f"   {name:36}{us / 1000:10.2f} ms")
    print(f"   {'exposure window':36}{result['exposure_us'] / 1000:10.2f} ms   "
          f"(first weight in clear to end of wipe; {result['wiped_bytes']} bytes wiped, kernels {result['kernels']})")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8") as f:
        report = json.load(f)
    if sys.argv[1] == "checks":
        checks(report)
    else:
        times(report, float(sys.argv[3]))


main()
