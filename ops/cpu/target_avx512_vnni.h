// Compiles what follows for avx512 vnni, up to target_end.h. To be included after all headers: what they define
// inline is shared with code for other processors.
#include <immintrin.h>

#define MSGNN_VECTOR_BYTES 64
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")
#endif
