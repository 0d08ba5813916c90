"""usage: hardening.py PROGRAM FILE: what the compiler and linker were asked for is in the binary: position independent, read-only
relocations bound at start, no executable stack, no segment that is writable and executable, stack protector and fortified calls,
and landing pads for indirect branches (CET, where the processor has it)."""
import re
import subprocess
import sys


def tool(*args):
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def main():
    program, path = sys.argv[1:]
    header, segments, dynamic = (tool("readelf", "-W", o, path) for o in ("-h", "-l", "-d"))
    symbols = tool("nm", path)
    failed = []

    def check(name, holds):
        if not holds:
            failed.append(name)

    check("position independent (PIE)", re.search(r"Type:\s+DYN", header) and re.search(r"FLAGS_1.*PIE", dynamic))
    check("relocations read-only after start (RELRO)", "GNU_RELRO" in segments)
    check("bound at start (NOW)", "BIND_NOW" in dynamic and re.search(r"FLAGS_1.*NOW", dynamic))
    stack = re.search(r"GNU_STACK(?:\s+\S+){5}\s+(\S+)", segments)
    check("stack not executable", stack and "E" not in stack.group(1))
    loads = re.findall(r"LOAD(?:\s+0x\S+){5}\s+([RWE ]+?)\s+0x", segments)
    check("no segment writable and executable", loads and not any("W" in f and "E" in f for f in loads))
    check("stack protector", "__stack_chk_fail" in symbols)
    check("fortified calls", re.search(r"__\w+_chk\b", symbols.replace("__stack_chk_fail", "")))
    main_code = tool("objdump", "-d", "--no-show-raw-insn", "--disassemble=main", path)
    if re.search(r"Machine:.*X86-64", header):
        check("landing pads for indirect branches (CET)", re.search(r"<main>:\n[^\n]*endbr64", main_code))
    check("no search path for libraries", "RPATH" not in dynamic and "RUNPATH" not in dynamic)
    if failed:
        sys.exit(f"{program}: " + "; ".join(failed))
    print(f"{program}: {len(loads)} segments; PIE, RELRO, NOW, NX, stack protector, fortified, CET")


main()
