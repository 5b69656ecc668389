// Ends what a target_*.h began; GCC's pragma lasts to the end of the file.
#if defined(__clang__)
#pragma clang attribute pop
#endif
