"""Compiles a kernel whose extensions are newer than Debian's glslang, by the one inside PyPI's slangpy, and has the SPIR-V
tools that it carries validate what comes out.

usage: build_gpu_kernels.py SHADER.comp OUT.spv [MACRO...]
"""

import ctypes
import importlib.util
import pathlib
import re
import sys


class Request(ctypes.Structure):
    """Slang's glslang_CompileRequest_1_2 (source/slang-glslang/slang-glslang.h)."""

    Text = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    _fields_ = [
        ("size", ctypes.c_size_t), ("path", ctypes.c_char_p), ("begin", ctypes.c_void_p), ("end", ctypes.c_void_p),
        ("problem", Text), ("problem_data", ctypes.c_void_p), ("output", Text), ("output_data", ctypes.c_void_p),
        ("stage", ctypes.c_int), ("action", ctypes.c_uint), ("optimization", ctypes.c_uint), ("debug", ctypes.c_uint),
        ("target", ctypes.c_char_p), ("version", ctypes.c_int * 3), ("entry", ctypes.c_char_p),
    ]


def inlined(path):
    """The source with what it includes; this glslang opens no files."""
    text = path.read_text()
    text = text.replace("#extension GL_GOOGLE_include_directive : require\n", "")
    return re.sub(r'#include "(.*)"\n', lambda match: (path.parent / match[1]).read_text(), text)


def main():
    source, target = map(pathlib.Path, sys.argv[1:3])
    library = next(pathlib.Path(importlib.util.find_spec("slangpy").origin).parent.glob("libslang-glslang-*.so"))
    tools = ctypes.CDLL(str(library))
    head, rest = inlined(source).split("\n", 1)
    macros = "".join("#define %s\n" % macro for macro in sys.argv[3:])
    text = (head + "\n" + macros + rest).encode()
    buffer, output = ctypes.create_string_buffer(text, len(text)), bytearray()
    request = Request(size=ctypes.sizeof(Request), path=str(source).encode(), stage=6, entry=b"main")
    request.begin = ctypes.addressof(buffer)
    request.end = request.begin + len(text)
    request.problem = Request.Text(lambda text, size, _: sys.stderr.write(ctypes.string_at(text, size).decode()))
    request.output = Request.Text(lambda bytes_, size, _: output.extend(ctypes.string_at(bytes_, size)))
    # 1.5 is the newest in which the size of groups may be a constant without a further feature of the device.
    request.version[0], request.version[1] = 1, 6 if b"GL_NV_cooperative_matrix2" in text else 5
    if tools.glslang_compile_1_2(ctypes.byref(request)) or not output:
        sys.exit("build-gpu-kernels: %s does not compile" % source)
    words = ctypes.create_string_buffer(bytes(output), len(output))
    if not tools.glslang_validateSPIRV(words, len(output) // 4):
        sys.exit("build-gpu-kernels: what is made of %s is not valid" % source)
    target.write_bytes(output)


if __name__ == "__main__":
    main()
