// Units for matrices of M x K by K x N numbers in halves with sums in float32, LANES invocations in step; a group has four
// times as many.
#ifdef BFLOAT
#define HALF bfloat16_t
const bool IS_BFLOAT = true;
#else
#define HALF float16_t
const bool IS_BFLOAT = false;
#endif
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 32;
layout(constant_id = 2) const uint M = 16;
layout(constant_id = 3) const uint N = 16;
layout(constant_id = 4) const uint K = 16;
#define LEFT coopmat<HALF, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define RIGHT coopmat<HALF, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define SUMS coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
const int BY_ROWS = gl_CooperativeMatrixLayoutRowMajor, BY_COLUMNS = gl_CooperativeMatrixLayoutColumnMajor;
