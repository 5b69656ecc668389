#include <algorithm>
#include <cstring>
#include <vector>

#include "trunk_kernels.h"
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

#include "trunk_product.inl"

#include "trunk_winograd.inl"

#include "trunk_conv_pair.inl"

#include "trunk_merge.inl"

const TrunkKernels trunk_kernels = {weight_values, transform_weight, conv_pair_strips, conv_pair, dense_merge};
}  // namespace msgnn::avx512

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif  // x86_64
