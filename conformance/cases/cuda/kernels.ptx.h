/* The kernels of the cases as PTX: a real driver compiles them, the simulated one knows them by their names. One thread does the
 * work, so that results do not depend on the launch's shape and are the same bit for bit. */
#ifndef CASES_KERNELS_PTX_H
#define CASES_KERNELS_PTX_H

#define FIRST_THREAD_ONLY                                                                          \
    ".reg .pred %q; .reg .b32 %r<4>; .reg .b64 %d<8>; .reg .f32 %f<4>;\n"                          \
    "mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; or.b32 %r0, %r0, %r1;\n"                          \
    "setp.ne.u32 %q, %r0, 0; @%q bra END;\n"
/* For %d7 from 0 to below %d0. */
#define LOOP "mov.u64 %d7, 0;\nNEXT: setp.ge.u64 %q, %d7, %d0; @%q bra END;\n"
#define AGAIN "add.u64 %d7, %d7, 1; bra NEXT;\nEND: ret;\n}\n"

static const char KERNELS[] =
    ".version 6.0\n.target sm_50\n.address_size 64\n"
    ".visible .entry counter(.param .u64 p, .param .u64 add)\n{\n" FIRST_THREAD_ONLY
    "ld.param.u64 %d0, [p]; ld.param.u64 %d1, [add];\n"
    "red.add.u64 [%d0], %d1;\nEND: ret;\n}\n"
    ".visible .entry fill(.param .u64 to, .param .u32 value, .param .u64 n)\n{\n" FIRST_THREAD_ONLY
    "ld.param.u64 %d0, [n]; ld.param.u64 %d1, [to]; ld.param.u32 %r2, [value];\n" LOOP
    "st.u32 [%d1], %r2; add.u64 %d1, %d1, 4;\n" AGAIN
    ".visible .entry vector_add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 n)\n{\n" FIRST_THREAD_ONLY
    "ld.param.u64 %d0, [n]; ld.param.u64 %d1, [a]; ld.param.u64 %d2, [b]; ld.param.u64 %d3, [c];\n" LOOP
    "ld.f32 %f0, [%d1]; ld.f32 %f1, [%d2]; add.rn.f32 %f0, %f0, %f1; st.f32 [%d3], %f0;\n"
    "add.u64 %d1, %d1, 4; add.u64 %d2, %d2, 4; add.u64 %d3, %d3, 4;\n" AGAIN
    ".visible .entry saxpy(.param .f32 a, .param .u64 x, .param .u64 y, .param .u64 n)\n{\n" FIRST_THREAD_ONLY
    "ld.param.u64 %d0, [n]; ld.param.f32 %f2, [a]; ld.param.u64 %d1, [x]; ld.param.u64 %d2, [y];\n" LOOP
    "ld.f32 %f0, [%d1]; ld.f32 %f1, [%d2]; mul.rn.f32 %f0, %f0, %f2; add.rn.f32 %f0, %f1, %f0; st.f32 [%d2], %f0;\n"
    "add.u64 %d1, %d1, 4; add.u64 %d2, %d2, 4;\n" AGAIN
    ".visible .entry reduce(.param .u64 in, .param .u64 out, .param .u64 n)\n{\n" FIRST_THREAD_ONLY
    "ld.param.u64 %d0, [n]; ld.param.u64 %d1, [in]; ld.param.u64 %d2, [out]; mov.f32 %f0, 0f00000000; st.f32 [%d2], %f0;\n" LOOP
    "ld.f32 %f1, [%d1]; add.rn.f32 %f0, %f0, %f1; st.f32 [%d2], %f0; add.u64 %d1, %d1, 4;\n" AGAIN
    ".visible .entry hipsim_spin(.param .u64 ns)\n{\n" FIRST_THREAD_ONLY
    "ld.param.u64 %d0, [ns]; mov.u64 %d1, %globaltimer;\n"
    "NEXT: mov.u64 %d2, %globaltimer; sub.u64 %d2, %d2, %d1; setp.lt.u64 %q, %d2, %d0; @%q bra NEXT;\nEND: ret;\n}\n"
    ".visible .entry anything()\n{\nret;\n}\n";

#endif
