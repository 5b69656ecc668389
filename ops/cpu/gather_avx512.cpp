#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "gather_kernel.h"
#if defined(__x86_64__)
#include <immintrin.h>

// After all headers: what they define inline is shared with code for other processors.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

#define MSGNN_VECTOR_BYTES 64
namespace msgnn::avx512 {
#include "vector.h"
#include "gather_kernel.inl"
}  // namespace msgnn::avx512

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // x86_64
