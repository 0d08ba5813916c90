/* NumPy's .npy: one tensor, as inputs and outputs of the command line.
 *
 * Versions 1.0, 2.0 and 3.0 of the format (numpy/lib/format.py documents it), little-endian,
 * row-major, the dtypes f2 f4 f8 i1..i8 u1..u8 b1. The header is a Python literal; a strict parser
 * takes exactly the dictionary that NumPy writes, keys in any order. The data must end where the
 * file does. Fortran order, big-endian, structured and object types are refused.
 */
#ifndef EML_TENSORIO_NPY_H
#define EML_TENSORIO_NPY_H

#include "engine/engine.h"

/* Reads a file. Data is copied into the arena, 64-byte aligned. On failure *out is zero. Errors:
 * EML_E_INPUT (damaged), EML_E_UNSUPPORTED (a type or order that is refused), EML_E_SYSTEM (arena).
 */
EML_MUST enum eml_err eml_npy_decode(struct eml_bytes file, struct eml_arena *arena,
                                     struct eml_tensor *out, struct eml_why *why);

/* Appends the file. EML_E_UNSUPPORTED for a dtype that NumPy lacks (bfloat16); EML_E_USAGE if
 * t->bytes is not what its shape and type need; EML_E_SYSTEM. On failure *out is empty. */
EML_MUST enum eml_err eml_npy_encode(const struct eml_tensor *t, struct eml_buf *out);

#endif
