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

// The input is relu(norm(inner)) where there is no x, else x, after x += norm(inner) where there is a norm; then
// inner = conv(input) + bias, 3x3, zero padding. Both maps in place. The output's moments are taken of each tile row.
struct NormConv {
  int64_t channels;  // a multiple of 16
  int64_t images, height, width;
  float* x;             // or null
  float* inner;
  const float* norm;    // (images, 3, channels), (value - centre) * scale + shift; or null
  const float* weight;  // transformed
  const float* bias;
  double* moments;      // (images * tile rows, 2, channels): means, sums of squared distances from them
  float* halo;          // (bands, 2, width, channels): input rows at the bands' borders; null where there is x
};

constexpr int64_t kTileSide = 4;
constexpr int64_t kMergePart = 1008;  // pixels whose energy is one sum; fixed, so that sums are the same for any threads

struct TrunkKernels {
  // Values of one map's transformed weights.
  int64_t (*weight_values)(int64_t kernel, int64_t channels);
  // Transforms (kernel, kernel, channels, channels) from input to output channels; a gate multiplies the input's.
  void (*transform_weight)(int64_t kernel, int64_t channels, const float* weight, const float* gate, float* out);
  int64_t (*conv_pair_strips)(const ConvPair&);
  void (*conv_pair)(const ConvPair&, int64_t begin, int64_t end);  // of the strips
  void (*dense_merge)(const DenseMerge&, int64_t begin, int64_t end);  // of images * parts
  // A band is a run of the tile rows of all images; each but the first is prepared before any runs.
  void (*prepare_norm_conv)(const NormConv&, int64_t band, int64_t begin);
  void (*norm_conv)(const NormConv&, int64_t band, int64_t begin, int64_t end);
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
