#!/usr/bin/env python3
"""SPDX 2.3 of an enclave image: every file with size and digests, and the Debian packages whose code went into them.

What the program is made of is read from the linker's map, so nothing is listed that was not linked, and nothing linked is left out.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys


def digests(path):
    with open(path, "rb") as f:
        data = f.read()
    return len(data), [{"algorithm": a, "checksumValue": hashlib.new(a.lower(), data).hexdigest()} for a in ("SHA1", "SHA256")]


def linked_files(map_file):
    """Libraries and start files that gave the program something; paths of the build itself are left out."""
    files = set()
    with open(map_file, encoding="utf-8") as f:
        members, _, rest = f.read().partition("\nMemory Configuration")
    for line in members.splitlines():
        found = re.match(r"(/\S+\.a)\(", line)
        if found:
            files.add(os.path.realpath(found.group(1)))
    for path in re.findall(r"^LOAD (/\S+\.o)$", rest, re.M):
        files.add(os.path.realpath(path))
    return sorted(f for f in files if f.startswith("/usr/"))


def package_of(path):
    done = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True, check=True)
    return done.stdout.split(": ")[0].split(":")[0]


def describe(package):
    form = "${Version}\t${source:Package}\t${source:Version}\t${Homepage}"
    version, source, source_version, home = subprocess.run(
        ["dpkg-query", "-W", "-f", form, package], capture_output=True, text=True, check=True).stdout.split("\n")[0].split("\t")
    return {"SPDXID": "SPDXRef-package-" + package, "name": package, "versionInfo": version, "supplier": "Organization: Debian",
            "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
            "sourceInfo": f"built from Debian source package {source} {source_version}" + (f"; {home}" if home else "")}


def describe_built(package):
    """A library that was built here, from Debian's source."""
    name, version = package["name"], package["version"]
    return {"SPDXID": "SPDXRef-package-" + name, "name": name, "versionInfo": version, "supplier": "Organization: Debian",
            "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
            "sourceInfo": f"built from Debian source package {name} {version}"}


def files_of(trees, kernel):
    yield "kernel", kernel
    for number, tree in enumerate(trees):
        for folder, folders, names in os.walk(tree):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                yield f"ramdisk{number + 1}/" + os.path.relpath(path, tree), path


def relation(one, kind, other):
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def main():
    a = argparse.ArgumentParser(description=__doc__)
    for name in ("--image", "--pcrs", "--kernel", "--program-map"):
        a.add_argument(name, required=True)
    a.add_argument("--built", help="libraries linked into the program that were built with it, a JSON object on each line")
    a.add_argument("trees", nargs=2)
    o = a.parse_args()
    with open(o.pcrs, encoding="utf-8") as f:
        pcrs = json.load(f)["Measurements"]
    size, image_digests = digests(o.image)
    packages = {package_of(path) for path in linked_files(o.program_map)}
    built = []
    if o.built:
        with open(o.built, encoding="utf-8") as f:
            built = [json.loads(line) for line in f]
    if not ({"libc6-dev", "libssl-dev"} <= packages or built and "musl-dev" in packages):
        sys.exit("sbom: the linker's map names neither the C library nor OpenSSL: it is not what it is taken for")
    image = {"SPDXID": "SPDXRef-image", "name": "ephemeralml-enclave", "versionInfo": pcrs["PCR0"], "downloadLocation": "NOASSERTION",
             "filesAnalyzed": False, "checksums": image_digests, "packageFileName": os.path.basename(o.image),
             "licenseConcluded": "NOASSERTION", "licenseDeclared": "Apache-2.0 AND GPL-2.0-only", "copyrightText": "NOASSERTION",
             "primaryPackagePurpose": "OPERATING-SYSTEM", "comment": f"{size} bytes; " + ", ".join(
                 f"{k} {pcrs[k]}" for k in ("PCR0", "PCR1", "PCR2"))}
    sources = os.path.join(os.path.dirname(o.kernel), "kernel.json")
    kernel_package = None
    if os.path.exists(sources):
        with open(sources, encoding="utf-8") as f:
            k = json.load(f)
        kernel_package = {"SPDXID": "SPDXRef-package-linux", "name": k["name"], "versionInfo": k["version"],
                          "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
                          "licenseConcluded": "NOASSERTION", "licenseDeclared": "GPL-2.0-only", "copyrightText": "NOASSERTION",
                          "sourceInfo": f"release {k['release']}, configuration SHA-256 {k['config_sha256']}"}
    files, relations = [], [relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")]
    for number, (name, path) in enumerate(files_of(o.trees, o.kernel)):
        size, sums = digests(path)
        ref = f"SPDXRef-file-{number}"
        files.append({"SPDXID": ref, "fileName": "./" + name, "checksums": sums, "licenseConcluded": "NOASSERTION",
                      "copyrightText": "NOASSERTION", "comment": f"{size} bytes"})
        relations.append(relation("SPDXRef-image", "CONTAINS", ref))
        if name == "ramdisk1/init":
            relations += [relation(ref, "STATIC_LINK", "SPDXRef-package-" + p) for p in sorted(packages | {b["name"] for b in built})]
        if name == "kernel" and kernel_package:
            relations.append(relation(ref, "GENERATED_FROM", kernel_package["SPDXID"]))
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "ephemeralml-enclave",
        "documentNamespace": "urn:ephemeralml:eif:" + image_digests[1]["checksumValue"],
        # The time of the image, not of the run: the same input gives the same document.
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": ["Tool: tools/image/sbom.py"]},
        "packages": [image] + ([kernel_package] if kernel_package else []) + [describe(p) for p in sorted(packages)] + [describe_built(b) for b in built],
        "files": files, "relationships": relations}
    json.dump(document, sys.stdout, indent=1)
    print()


main()
