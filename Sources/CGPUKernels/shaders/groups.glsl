// Matrices that a whole group of 256 invocations holds, of halves with sums in float32 (VK_NV_cooperative_matrix2).
#ifdef BFLOAT
#define HALF bfloat16_t
#else
#define HALF float16_t
#endif
layout(local_size_x = 256) in;
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer Halves { HALF at[]; };
#define LEFT(rows, columns) coopmat<HALF, gl_ScopeWorkgroup, rows, columns, gl_MatrixUseA>
#define RIGHT(rows, columns) coopmat<HALF, gl_ScopeWorkgroup, rows, columns, gl_MatrixUseB>
#define SUMS(rows, columns) coopmat<float, gl_ScopeWorkgroup, rows, columns, gl_MatrixUseAccumulator>
