/* The set of avx512.c once more, for CPUs with AVX512_BF16: compiled with that flag, which changes
 * the products of bfloat16 and the name of the table. */
#include "engine/kernels/avx512.c" // NOLINT(bugprone-suspicious-include)
