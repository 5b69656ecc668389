// Vectors of MSGNN_VECTOR_BYTES in the compiler's own extension, which GCC and Clang turn into any instruction set.
// Included inside the namespace of one instruction set, once a translation unit; see knn_avx2.cpp.

constexpr int64_t kLanes = MSGNN_VECTOR_BYTES / 4;
typedef float vfloat __attribute__((vector_size(MSGNN_VECTOR_BYTES)));
typedef int32_t vint __attribute__((vector_size(MSGNN_VECTOR_BYTES)));

template <typename V, typename E>
inline V load(const E* from) {
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}

template <typename V, typename E>
inline void store(E* to, V value) {
  std::memcpy(to, &value, sizeof(V));
}

constexpr int64_t kDoubles = MSGNN_VECTOR_BYTES / 8;
typedef double vdouble __attribute__((vector_size(MSGNN_VECTOR_BYTES)));
typedef float vhalf __attribute__((vector_size(MSGNN_VECTOR_BYTES / 2)));

inline vdouble load_doubles(const double* from) { return load<vdouble>(from); }
inline vdouble load_doubles(const float* from) { return __builtin_convertvector(load<vhalf>(from), vdouble); }

inline vfloat broadcast(float value) { return value - vfloat{}; }

inline float sum(vfloat values) {
#if MSGNN_VECTOR_BYTES == 64
  return _mm512_reduce_add_ps((__m512)values);
#else
  float lanes[kLanes];
  store(lanes, values);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
#endif
}

// One bit a lane, set unless a > b; so NaN sets it.
inline uint32_t not_greater(vfloat a, vfloat b) {
#if MSGNN_VECTOR_BYTES == 64
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_NGT_UQ);
#elif MSGNN_VECTOR_BYTES == 32
  return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_NGT_UQ));
#else
  const vint greater = a > b;
  uint32_t bits = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) bits |= static_cast<uint32_t>(greater[lane] == 0) << lane;
  return bits;
#endif
}
