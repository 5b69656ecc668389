#include <cstring>

#include "self_similar_kernel.h"

#define MSGNN_VECTOR_BYTES 16
namespace msgnn::portable {
#include "vector.h"
#include "self_similar_kernel.inl"
}  // namespace msgnn::portable
