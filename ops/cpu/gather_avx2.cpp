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
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define MSGNN_VECTOR_BYTES 32
namespace msgnn::avx2 {
#include "vector.h"
#include "gather_kernel.inl"
}  // namespace msgnn::avx2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // x86_64
