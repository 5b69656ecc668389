// A (B, C, H, W) tensor as the CPU kernels read it: float32 or float64, channels last, padded to whole patches.
#pragma once

#include <ATen/ATen.h>

#include "msgnn/patch_grid.h"
#include "patch_map.h"

namespace msgnn {

// Half precisions are computed in float32.
inline at::ScalarType compute_type(const at::Tensor& map) {
  return map.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

class MapTensor {
 public:
  // Copies only where the type, the layout or the padding asks for it; rows and images may lie apart.
  MapTensor(const at::Tensor& map, int64_t patch_size, int64_t stride)
      : patch_size_(patch_size),
        stride_(stride),
        rows_(grid_length(map.size(2), patch_size, stride)),
        columns_(grid_length(map.size(3), patch_size, stride)) {
    const int64_t channels = map.size(1), height = map.size(2), width = map.size(3);
    const int64_t padded_height = padded_length(height, patch_size, stride);
    const int64_t padded_width = padded_length(width, patch_size, stride);
    const at::Tensor pixels = map.permute({0, 2, 3, 1});
    const bool dense = (channels == 1 || map.stride(1) == 1) && (width == 1 || map.stride(3) == channels);
    const bool padded = padded_height != height || padded_width != width;
    if (dense && !padded && map.scalar_type() == compute_type(map)) {
      storage_ = pixels;
      return;
    }
    storage_ = at::empty({map.size(0), padded_height, padded_width, channels}, map.options().dtype(compute_type(map)));
    const int64_t top = padding_before(height, patch_size, stride), left = padding_before(width, patch_size, stride);
    storage_.narrow(1, 0, top).zero_();
    storage_.narrow(1, top + height, padded_height - top - height).zero_();
    const at::Tensor middle = storage_.narrow(1, top, height);
    middle.narrow(2, 0, left).zero_();
    middle.narrow(2, left + width, padded_width - left - width).zero_();
    middle.narrow(2, left, width).copy_(pixels);
  }

  // T must be the C++ type of `scalar_type()`. Valid as long as this object lives.
  template <typename T>
  PatchMap<const T> image(int64_t number) const {
    return {storage_.const_data_ptr<T>() + number * storage_.stride(0),
            storage_.stride(1),
            storage_.size(3),
            patch_size_,
            stride_,
            rows_,
            columns_};
  }

  at::ScalarType scalar_type() const { return storage_.scalar_type(); }
  int64_t images() const { return storage_.size(0); }
  int64_t rows() const { return rows_; }  // of the grid
  int64_t columns() const { return columns_; }
  int64_t places() const { return rows_ * columns_; }

 private:
  at::Tensor storage_;  // (B, padded height, padded width, C); pixels of a row are contiguous
  int64_t patch_size_, stride_, rows_, columns_;
};

}  // namespace msgnn
