#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "train_kernels.h"

#define MSGNN_VECTOR_BYTES 16
namespace msgnn::portable {
#include "vector.h"

#include "trunk_product.inl"

#include "trunk_winograd.inl"

#include "train_conv.inl"

#include "train_weight_gradient.inl"

const TrainKernels train_kernels = {train_conv, conv_weight_gradient, finish_weight_gradient, merge_weight_gradient};
}  // namespace msgnn::portable
