// Energies of maps, summed over fixed parts of them, so that bits do not depend on the number of threads.
#pragma once

#include <ATen/ATen.h>

namespace msgnn {

// Sums of each part (images, parts, channels), float64, to (images, channels), float32.
inline at::Tensor sum_of_parts(const at::Tensor& energy) {
  const int64_t parts = energy.size(1), channels = energy.size(2);
  at::Tensor total = at::zeros({energy.size(0), channels}, at::kDouble);
  const double* from = energy.const_data_ptr<double>();
  double* sum = total.mutable_data_ptr<double>();
  for (int64_t row = 0; row < energy.size(0) * parts; ++row, from += channels) {
    for (int64_t c = 0; c < channels; ++c) sum[row / parts * channels + c] += from[c];
  }
  return total.to(at::kFloat);
}

}  // namespace msgnn
