#include <algorithm>
#include <cstring>
#include <vector>

#include "trunk_kernels.h"
#if defined(__x86_64__)
#include "target_avx512.h"

namespace msgnn::avx512 {
#include "vector.h"

#include "trunk_product.inl"

#include "trunk_winograd.inl"

#include "trunk_conv_pair.inl"

#include "trunk_merge.inl"

#include "norm_conv.inl"

const TrunkKernels trunk_kernels = {weight_values, transform_weight,  conv_pair_strips, conv_pair,
                                    dense_merge,   prepare_norm_conv, norm_conv};
}  // namespace msgnn::avx512

#include "target_end.h"
#endif  // x86_64
