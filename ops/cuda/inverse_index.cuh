// The index turned round: for each database place the pairs that name it.
#pragma once

#include "msgnn/gather_element.h"
#include "tensors.cuh"

namespace msgnn {

class InverseIndex {
 public:
  // `index`: (B, M, K), contiguous, of places in [0, places).
  InverseIndex(const std::string& op, const OnDevice& device, const Tensor& index, int64_t places);

  PairsOfPlaces pairs() const;

 private:
  Tensor index_, start_, number_;
};

// The pairs of each query.
inline PairsOfPlaces pairs_of_queries(const Tensor& index) {
  return {nullptr, nullptr, index.const_data_ptr<int64_t>(), index.size(2), index.size(1)};
}

}  // namespace msgnn
