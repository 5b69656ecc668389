// Guards of the memory that kernels touch, one sentence each.
#pragma once

#include <ATen/ATen.h>

namespace msgnn {

// The Python side has checked the arguments; these guard the memory where an op is called without it.
inline void check_patches(const char* op, int64_t patch_size, int64_t stride) {
  TORCH_CHECK_VALUE(patch_size >= 1, op, ": `patch_size` must be at least 1, got ", patch_size, ".");
  TORCH_CHECK_VALUE(stride >= 1, op, ": `stride` must be at least 1, got ", stride, ".");
}

inline void check_shape(const char* op, const char* name, const at::Tensor& tensor, at::IntArrayRef shape) {
  TORCH_CHECK_VALUE(
      tensor.sizes() == shape, op, ": `", name, "` must have shape ", shape, ", got ", tensor.sizes(), ".");
}

}  // namespace msgnn
