// The convolutions of MSGNN's trunk on channels-last float32 maps, inference only, once for each instruction set.
//
// Two convolutions in a row run depth-first: a strip of the middle map is made, read and forgotten while it is in the
// cache. Each convolution is Winograd's F(4x4, 3x3) or F(4x4, 5x5) (Lavin and Gray, "Fast Algorithms for Convolutional
// Neural Networks", CVPR 2016): 2.25 or 4 products a pixel instead of 9 or 25. Tiles lie on one grid over the image,
// so how rows are shared among threads changes no bit.
#pragma once

#include <cstdint>

#include "capability.h"

namespace msgnn {

// y = [in +] [leaky](conv(leaky(conv(in)))), zero padding, where in = the maps behind each other, or map + offset.
struct ConvPair {
  int64_t kernel;    // side of both kernels: 3 or 5
  int64_t channels;  // of each map, a multiple of 16
  int64_t images, height, width;
  int64_t num_maps;
  const float* const* maps;
  const float* offset;    // or null
  const float* weight1;   // transformed, (images or 1, num_maps, points, points, channels, channels)
  int64_t image_weights;  // values from one image's weight1 to the next's, 0: one for all
  const float* bias1;
  const float* weight2;
  const float* bias2;
  float negative_slope;
  bool residual;         // add the input, of one map
  bool last_activation;  // after the second convolution
  float* output;
};

// results[0] = leaky(1x1 convolution over the maps behind each other + bias + sums), and sums of (that + offset)^2.
// results[1], ...: other 1x1 convolutions of the same maps, nothing added.
struct DenseMerge {
  int64_t channels;  // of each map and of each result, a multiple of 16
  int64_t images, pixels;
  int64_t num_maps, num_results;
  const float* const* maps;
  const float* weight;  // (num_results, num_maps * channels, channels)
  const float* bias;
  const float* sums;    // or null
  const float* offset;  // or null
  float negative_slope;
  float* const* results;
  double* energy;  // (images, parts, channels)
};

constexpr int64_t kMergePart = 1008;  // pixels whose energy is one sum; fixed, so that sums are the same for any threads

struct TrunkKernels {
  // Values of one map's transformed weights.
  int64_t (*weight_values)(int64_t kernel, int64_t channels);
  // Transforms (kernel, kernel, channels, channels) from input to output channels; a gate multiplies the input's.
  void (*transform_weight)(int64_t kernel, int64_t channels, const float* weight, const float* gate, float* out);
  int64_t (*conv_pair_strips)(const ConvPair&);
  void (*conv_pair)(const ConvPair&, int64_t begin, int64_t end);  // of the strips
  void (*dense_merge)(const DenseMerge&, int64_t begin, int64_t end);  // of images * parts
};

namespace portable {
extern const TrunkKernels trunk_kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const TrunkKernels trunk_kernels;
}
namespace avx512 {
extern const TrunkKernels trunk_kernels;
}
#endif

inline const TrunkKernels& trunk_kernels(Capability capability) {
  switch (capability) {
#if defined(__x86_64__)
    case Capability::avx512_vnni:
    case Capability::avx512: return avx512::trunk_kernels;
    case Capability::avx2: return avx2::trunk_kernels;
#endif
    default: return portable::trunk_kernels;
  }
}

}  // namespace msgnn
