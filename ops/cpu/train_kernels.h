// What training needs of MSGNN's trunk beside the inference kernels: one convolution with what surrounds it, and gradients
// of weights. On channels-last float32 maps, once for each instruction set.
//
// Everything adds up in parts that depend on the maps' size alone, so how parts are shared among threads changes no bit.
#pragma once

#include <algorithm>
#include <cstdint>

#include "capability.h"

namespace msgnn {

// y = leaky'(mask) * (scale * [leaky](conv(gate * (maps + offset)) + bias) + sum of added + factor * sum of scaled),
// zero padding; the value in front of the mask is added to `total` too. By Winograd's algorithm, see trunk_kernels.h.
struct TrainConv {
  int64_t kernel;    // side: 3 or 5
  int64_t channels;  // of each map and of the result, a multiple of 16
  int64_t images, height, width;
  int64_t num_maps;
  const float* const* maps;
  const float* offset;  // or null; like every map below
  const float* weight;  // transformed, (num_maps, points, points, channels, channels)
  const float* gate;    // (images, channels) or null; like the factors below
  const float* bias;    // (channels)
  float negative_slope;
  bool activate;
  const float* scale;
  int64_t num_added;
  const float* const* added;
  int64_t num_scaled;
  const float* const* scaled;
  const float* factor;
  float* total;
  const float* mask;
  float* output;
};

// Gradient of a convolution's weights, for every image; in the transformed domain until the very end.
struct ConvWeightGradient {
  int64_t kernel, channels, images, height, width;
  int64_t num_maps;
  const float* const* maps;  // what was convolved
  const float* offset;       // added to them, or null
  const float* grad;         // of what the convolution gave
  int64_t parts;             // of an image: runs of tile rows
  float* sums;               // (images, num_maps, parts, points, points, channels, channels): from input to output
  double* bias;              // (images, parts, channels): sums of grad
};

// Gradients of several 1x1 convolutions, each of a run of the maps behind each other.
struct MergeWeightGradient {
  int64_t channels, pixels;
  int64_t num_grads;
  const float* const* maps;
  const float* const* grads;
  const int64_t* first;  // map of each run
  const int64_t* end;    // one after its last
  int64_t parts;         // of all pixels
  float* sums;           // (parts, runs behind each other, channels, channels): from input to output
  double* bias;          // (parts, num_grads, channels)
};

constexpr int64_t kTrainTile = 4;        // outputs a side
constexpr int64_t kPartTiles = 256;      // of an image whose gradients are one sum, at least
constexpr int64_t kMostParts = 8;        // of an image: each has a sum of its own
constexpr int64_t kPartPixels = 2048;    // the same for merges
constexpr int64_t kMostMergeParts = 64;

inline int64_t conv_parts(int64_t height, int64_t width) {
  const int64_t rows = (height + kTrainTile - 1) / kTrainTile, columns = (width + kTrainTile - 1) / kTrainTile;
  return std::clamp<int64_t>(rows * columns / kPartTiles, 1, std::min(rows, kMostParts));
}

inline int64_t merge_parts(int64_t pixels) { return std::clamp<int64_t>(pixels / kPartPixels, 1, kMostMergeParts); }

struct TrainKernels {
  void (*conv)(const TrainConv&, int64_t begin, int64_t end);  // of images * tile rows
  void (*conv_weight_gradient)(const ConvWeightGradient&, int64_t begin, int64_t end);  // of images * maps * parts
  // From the sums to (kernel, kernel, channels, channels); [begin, end) of images * maps.
  void (*finish_weight_gradient)(const ConvWeightGradient&, float* out, int64_t begin, int64_t end);
  void (*merge_weight_gradient)(const MergeWeightGradient&, int64_t begin, int64_t end);  // of the parts
};

namespace portable {
extern const TrainKernels train_kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const TrainKernels train_kernels;
}
namespace avx512 {
extern const TrainKernels train_kernels;
}
#endif

inline const TrainKernels& train_kernels(Capability capability) {
  switch (capability) {
#if defined(__x86_64__)
    case Capability::avx512_vnni:
    case Capability::avx512: return avx512::train_kernels;
    case Capability::avx2: return avx2::train_kernels;
#endif
    default: return portable::train_kernels;
  }
}

}  // namespace msgnn
