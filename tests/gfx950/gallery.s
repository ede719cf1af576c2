; Kernels with one fault each, for test_sanitize.py. A kernel's text follows a prologue: s[6:7] points at
; the output, v1 is 4 * the work-item's number. CLEAR sets v2..v55 to 0, FILL has every work-item store to LDS and waits at a barrier,
; READ14 reads LDS so many times, LOAD62 the output.
; Each begins: kind, the instruction reported, words of the report; then how to mend it (old => new, `/` parts lines) and its launch.

# unwritten-vgpr | v_add_u32 | reads v3, which all lanes
# v3 => v0 | 
v_add_u32 v2, v0, v3
global_store_dword v1, v2, s[6:7]

# unwritten-vgpr | global_store_dword | reads v2, which lanes 32, 33, 34, 35, \.\.\. never wrote
# vcc, 32 => vcc, 64 | 
v_cmp_gt_u32 vcc, 32, v0
s_and_saveexec_b64 s[8:9], vcc
v_mov_b32 v2, 1
s_mov_b64 exec, s[8:9]
global_store_dword v1, v2, s[6:7]

# unwritten-vgpr | global_store_dword | reads v2
# v_acc => v_accvgpr_write_b32 a3, 1 / s_nop 0 / v_acc | 
v_accvgpr_read_b32 v2, a3
global_store_dword v1, v2, s[6:7]

# unwritten-sgpr | v_mov_b32 | reads s20
# s20 => s0 | 
v_mov_b32 v2, s20
global_store_dword v1, v2, s[6:7]

# unwritten-sgpr | v_cndmask | reads vcc
# v_cnd => s_mov_b64 vcc, 0 / v_cnd | 
v_cndmask_b32 v2, 0, 1, vcc
global_store_dword v1, v2, s[6:7]

# unwritten-lds | ds_read_b32 | LDS byte 0
# ds_read => ds_write_b32 v1, v0 / ds_read | lds=256
ds_read_b32 v2, v1
s_waitcnt lgkmcnt(0)
global_store_dword v1, v2, s[6:7]

# unwritten-lds | ds_read_b32 | LDS byte 4
# b16 v1, v0 / ds_read_b32 v2, v1 offset:4 => b32 v1, v0 / ds_read_b32 v2, v1 | lds=512
ds_write_b16 v1, v0
ds_read_b32 v2, v1 offset:4
s_waitcnt lgkmcnt(0)
global_store_dword v1, v2, s[6:7]

# unwritten-scratch | scratch_load_dword | reads byte 4 of its private memory, which all lanes
# off offset:4 => off | scratch=16
scratch_store_dword off, v0, off
scratch_load_dword v2, off, off offset:4
s_waitcnt vmcnt(0)
global_store_dword v1, v2, s[6:7]

# unwritten-scratch | scratch_load_ushort | byte 0 of its private memory, which lanes 32, 33
# vcc, 32 => vcc, 64 | scratch=16
v_cmp_gt_u32 vcc, 32, v0
s_and_saveexec_b64 s[8:9], vcc
scratch_store_short off, v0, off
s_mov_b64 exec, s[8:9]
scratch_load_ushort v2, off, off
s_waitcnt vmcnt(0)
global_store_dword v1, v2, s[6:7]

# vmcnt | v_add_u32 | vmcnt\(0\)
# v_add => s_waitcnt vmcnt(0) / v_add | 
global_load_dword v2, v1, s[6:7]
v_add_u32 v2, v2, v0
global_store_dword v1, v2, s[6:7]

# vmcnt | v_add_u32 | uses v3 .* vmcnt\(0\)
# vmcnt(1) => vmcnt(0) | 
global_load_dword v2, v1, s[6:7]
global_load_dword v3, v1, s[6:7]
s_waitcnt vmcnt(1)
v_add_u32 v2, v3, v0
global_store_dword v1, v2, s[6:7]

# lgkmcnt | s_add_u32 | uses s8
# s_add => s_waitcnt lgkmcnt(0) / s_add | 
s_load_dword s8, s[0:1], 0x0
s_add_u32 s8, s8, 1
v_mov_b32 v2, s8
global_store_dword v1, v2, s[6:7]

# lgkmcnt | v_add_u32 | uses v2 .* lgkmcnt\(1\)
# lgkmcnt(2) => lgkmcnt(1) | lds=256
ds_write_b32 v1, v0
ds_read_b32 v2, v1
ds_read_b32 v3, v1
s_waitcnt lgkmcnt(2)
v_add_u32 v2, v2, v0
s_waitcnt lgkmcnt(0)
global_store_dword v1, v2, s[6:7]

# lgkmcnt | v_add_u32 | uses v2 .* lgkmcnt\(14\)
# v_add => ds_read_b32 v17, v1 / v_add | lds=256
ds_write_b32 v1, v0
ds_read_b32 v2, v1
READ14
v_add_u32 v18, v2, v0

# vmcnt | v_add_u32 | uses v2 .* vmcnt\(62\)
# v_add => global_load_dword v65, v1, s[6:7] / v_add | 
global_load_dword v2, v1, s[6:7]
LOAD62
v_add_u32 v66, v2, v0

# lgkmcnt | v_add_u32 | uses v2 .* lgkmcnt\(0\)
# lgkmcnt(1) => vmcnt(0) lgkmcnt(1) | lds=256
ds_write_b32 v1, v0
v_mov_b32 v4, v1
v_mov_b32 v5, 0
v_lshl_add_u64 v[4:5], v[4:5], 0, s[6:7]
ds_read_b32 v2, v1
flat_store_dword v[4:5], v0
s_waitcnt lgkmcnt(1)
v_add_u32 v2, v2, v0
s_waitcnt lgkmcnt(0)
global_store_dword v1, v2, s[6:7] offset:1024

# vmcnt | v_add_u32 | uses v2 .* vmcnt\(0\)
# vmcnt(1) => vmcnt(1) lgkmcnt(0) | 
v_mov_b32 v4, v1
v_mov_b32 v5, 0
v_lshl_add_u64 v[4:5], v[4:5], 0, s[6:7]
global_load_dword v2, v1, s[6:7] offset:1024
flat_store_dword v[4:5], v0
s_waitcnt vmcnt(1)
v_add_u32 v2, v2, v0

# wait-states | v_add_f32 | 4 wait states.*8 are
# s_nop 3 => s_nop 7 | 
CLEAR
v_mfma_f32_16x16x32_bf16 v[16:19], v[4:7], v[8:11], v[12:15]
s_nop 3
v_add_f32 v2, v16, v16
global_store_dword v1, v2, s[6:7]

# wait-states | v_mfma | 0 wait states.*8 are
# v_mfma_f32_16x16x32_bf16 v[20 => s_nop 7 / v_mfma_f32_16x16x32_bf16 v[20 | 
CLEAR
v_mfma_f32_16x16x32_bf16 v[16:19], v[4:7], v[8:11], v[12:15]
v_mfma_f32_16x16x32_bf16 v[20:23], v[16:19], v[8:11], v[12:15]

# wait-states | v_mov_b32 | 12 are
# v_mov_b32 v20, 0 => s_nop 15 / v_mov_b32 v20, 0 | 
CLEAR
v_mfma_f32_32x32x16_bf16 v[20:35], v[4:7], v[8:11], v[20:35]
v_mov_b32 v20, 0

# wait-states | v_mov_b32 | 7 are
# v_mov_b32 v55 => s_nop 6 / v_mov_b32 v55 | 
CLEAR
v_mfma_f32_32x32x16_bf16 v[20:35], v[4:7], v[8:11], v[40:55]
v_mov_b32 v55, 0

# wait-states | v_add_f32 | 0 wait states.*1 are
# v_add => s_nop 0 / v_add | 
v_exp_f32 v2, v1
v_add_f32 v2, v2, v2
global_store_dword v1, v2, s[6:7]

# wait-states | v_readlane | 1 are required
# v_readlane => s_nop 0 / v_readlane | 
v_mov_b32 v2, 1
v_readlane_b32 s8, v2, 3
global_store_dword v1, v2, s[6:7]

# wait-states | v_mov_b32_dpp | 0 wait states.*2 are
# v_mov_b32_dpp => s_nop 1 / v_mov_b32_dpp | 
v_mov_b32 v2, v0
v_mov_b32_dpp v3, v2 row_shl:1 row_mask:0xf bank_mask:0xf bound_ctrl:0
global_store_dword v1, v3, s[6:7]

# wait-states | v_permlane32_swap | 1 wait states.*2 are
# s_nop 0 => s_nop 1 | 
v_mov_b32 v2, v0
v_mov_b32 v3, v0
s_nop 0
v_permlane32_swap_b32 v2, v3
global_store_dword v1, v3, s[6:7]

# wait-states | v_div_fmas_f32 | uses vcc 0 wait states.*4 are
# v_div_fmas => s_nop 3 / v_div_fmas | 
v_mov_b32 v2, 1.0
v_cmp_gt_u32 vcc, 32, v0
v_div_fmas_f32 v2, v2, v2, v2
global_store_dword v1, v2, s[6:7]

# wait-states | v_add_u32 | uses s8 0 wait states.*2 are
# v_add_u32 v2, s8 => s_nop 1 / v_add_u32 v2, s8 | 
v_readfirstlane_b32 s8, v1
v_add_u32 v2, s8, v0
global_store_dword v1, v2, s[6:7]

# wait-states | global_store_dword | uses s9 2 wait states.*5 are
# s_nop 1 => s_nop 4 | 
v_mov_b32 v2, s7
s_mov_b32 s8, s6
v_readfirstlane_b32 s9, v2
s_nop 1
global_store_dword v1, v0, s[8:9]

# wait-states | v_readlane_b32 | uses s8 0 wait states.*4 are
# v_readlane => s_nop 3 / v_readlane | 
v_readfirstlane_b32 s8, v0
v_readlane_b32 s9, v1, s8
s_nop 1
v_mov_b32 v2, s9
global_store_dword v1, v2, s[6:7]

# wait-states | v_mov_b32 | 0 wait states.*2 are
# v_mov_b32 v4, 0 => s_nop 1 / v_mov_b32 v4, 0 | 
v_mov_b32 v2, v0
v_mov_b32 v3, v0
v_mov_b32 v4, v0
v_mov_b32 v5, v0
v_and_b32 v6, 0xff, v1
v_lshlrev_b32 v6, 2, v6
global_store_dwordx4 v6, v[2:5], s[6:7]
v_mov_b32 v4, 0

# wait-states | v_mov_b32_dpp | uses exec 0 wait states.*5 are
# v_mov_b32_dpp => s_nop 4 / v_mov_b32_dpp | 
v_cmpx_gt_u32 vcc, 64, v0
v_mov_b32_dpp v3, v1 row_shl:1 row_mask:0xf bank_mask:0xf bound_ctrl:0

# wait-states | v_add_u32 | 0 wait states.*1 are
# v_add_u32 v2 => s_nop 0 / v_add_u32 v2 | 
v_mov_b32 v2, 0
v_add_u16_sdwa v2, v0, v0 dst_sel:WORD_1 dst_unused:UNUSED_PAD src0_sel:WORD_0 src1_sel:WORD_0
v_add_u32 v2, v2, v0

# wait-states | v_mfma | 0 wait states.*2 are
# v_mfma => s_nop 1 / v_mfma | 
CLEAR
v_mov_b32 v4, 1.0
v_mfma_f32_16x16x32_bf16 v[16:19], v[4:7], v[8:11], v[12:15]

# wait-states | v_mfma_f32_16x16x4_f32 | 10 are
# v_mfma_f32_16x16x4_f32 v[20 => s_nop 9 / v_mfma_f32_16x16x4_f32 v[20 | 
CLEAR
v_mfma_f32_16x16x4_f32 v[16:19], v4, v8, v[12:15]
v_mfma_f32_16x16x4_f32 v[20:23], v16, v8, v[12:15]

# wait-states | v_add_f64 | 19 are
# v_add_f64 => s_nop 15 / s_nop 2 / v_add_f64 | 
CLEAR
v_mfma_f64_16x16x4_f64 v[16:23], v[4:5], v[8:9], v[24:31]
v_add_f64 v[2:3], v[16:17], v[16:17]

# wait-states | global_store_dword | 5 wait states.*12 are
# s_nop 4 => s_nop 11 | 
CLEAR
v_mfma_scale_f32_16x16x128_f8f6f4 v[16:19], v[32:39], v[40:47], v[12:15], v2, v3 op_sel_hi:[0,0,0]
s_nop 4
global_store_dword v1, v16, s[6:7]

# wait-states | s_sendmsg | uses m0 0 wait states.*1 are
# s_sendmsg => s_nop 0 / s_sendmsg | 
s_mov_b32 m0, 0
s_sendmsg 1

# wait-states | s_getreg | uses mode 0 wait states.*2 are
# s_getreg => s_nop 1 / s_getreg | 
s_setreg_imm32_b32 hwreg(HW_REG_MODE, 12, 1), 0
s_getreg_b32 s8, hwreg(HW_REG_MODE)

# misaligned | ds_write_b32 | not a multiple of 4
# v2, 2 => v2, 4 | lds=512
v_add_u32 v2, 2, v1
ds_write_b32 v2, v0
global_store_dword v1, v2, s[6:7]

# misaligned | global_load | not a multiple of 4
# :2 => :4 | 
global_load_dwordx2 v[2:3], v1, s[6:7] offset:2
s_waitcnt vmcnt(0)
global_store_dword v1, v2, s[6:7]

# lds-race | ds_write_b32 | LDS byte 256 .* wave 0 at .*ds_read_b32
# ds_read => s_barrier / ds_read | lds=512 block=128
FILL
v_xor_b32 v3, 0x100, v1
ds_write_b32 v1, v1
s_waitcnt lgkmcnt(0)
ds_read_b32 v2, v3
s_waitcnt lgkmcnt(0)
global_store_dword v1, v2, s[6:7]

# lds-race | ds_read_u8 | wave 0 at .*ds_write_b16
# offset:3 => offset:1 | lds=512 block=128
FILL
v_and_b32 v3, 0xff, v1
v_readfirstlane_b32 s8, v0
s_cmp_lg_u32 s8, 0
s_cbranch_scc1 second
ds_write_b16 v3, v0 offset:2
s_endpgm
second:
ds_read_u8 v2, v3 offset:3

# lds-in-flight | ds_read_b32 | did not wait for .*ds_write_b32
# s_barrier => s_waitcnt lgkmcnt(0) / s_barrier | lds=512 block=128
ds_write_b32 v1, v0
s_barrier
v_xor_b32 v3, 0x100, v1
ds_read_b32 v2, v3
s_waitcnt lgkmcnt(0)
global_store_dword v1, v2, s[6:7]

# lds-in-flight | ds_write_b32 | did not wait for .*ds_write_b64
# lgkmcnt(1) => lgkmcnt(0) | lds=2048 block=128
v_lshlrev_b32 v4, 1, v1
ds_write_b64 v4, v[0:1]
s_waitcnt lgkmcnt(1)
s_barrier
v_xor_b32 v3, 0x200, v4
ds_write_b32 v3, v0

# global-race | global_store_dword | byte 0 of out.*workgroup \(0, 0, 0\)
# global => s_lshl_b32 s9, s2, 8 / v_add_u32 v1, s9, v1 / global | grid=2
global_store_dword v1, v0, s[6:7]

# global-race | global_ | byte 256 of out|byte 0 of out
# v2, v1, s[6:7] => v2, v1, s[6:7] offset:1024 | grid=2
global_load_dword v2, v1, s[6:7]
s_waitcnt vmcnt(0)
s_lshl_b32 s9, s2, 8
v_add_u32 v3, s9, v1
global_store_dword v3, v2, s[6:7]

; The last workgroup to come reads what the others left: without a release, without an acquire, with fences that reach the
; workgroup only, and with a release that is not waited for.
# global-race | global_load_dword | as workgroup \(0, 0, 0\) does at .*global_store_dword
# s_nop 1 => buffer_wbl2 sc1 | grid=4
s_lshl_b32 s8, s2, 8
v_add_u32 v2, s8, v1
global_store_dword v2, v0, s[6:7] offset:256
v_mov_b32 v4, 0
v_mov_b32 v6, 1
s_nop 1
s_waitcnt vmcnt(0)
s_mov_b64 exec, 1
global_atomic_add v5, v4, v6, s[6:7] sc0
s_waitcnt vmcnt(0)
buffer_inv sc1
v_readfirstlane_b32 s9, v5
s_mov_b64 exec, -1
s_cmp_lg_u32 s9, 3
s_cbranch_scc1 end
global_load_dword v2, v1, s[6:7] offset:256
end:

# global-race | global_load_dword | as workgroup \(0, 0, 0\) does at .*global_store_dword
# s_nop 2 => buffer_inv sc1 | grid=4
s_lshl_b32 s8, s2, 8
v_add_u32 v2, s8, v1
global_store_dword v2, v0, s[6:7] offset:256
v_mov_b32 v4, 0
v_mov_b32 v6, 1
buffer_wbl2 sc1
s_waitcnt vmcnt(0)
s_mov_b64 exec, 1
global_atomic_add v5, v4, v6, s[6:7] sc0
s_waitcnt vmcnt(0)
s_nop 2
v_readfirstlane_b32 s9, v5
s_mov_b64 exec, -1
s_cmp_lg_u32 s9, 3
s_cbranch_scc1 end
global_load_dword v2, v1, s[6:7] offset:256
end:

# global-race | global_load_dword | as workgroup \(0, 0, 0\) does at .*global_store_dword
# sc0 / s_waitcnt vmcnt(0) / s_mov => sc1 / s_waitcnt vmcnt(0) / s_mov | grid=4
s_lshl_b32 s8, s2, 8
v_add_u32 v2, s8, v1
global_store_dword v2, v0, s[6:7] offset:256
v_mov_b32 v4, 0
v_mov_b32 v6, 1
buffer_wbl2 sc0
s_waitcnt vmcnt(0)
s_mov_b64 exec, 1
global_atomic_add v5, v4, v6, s[6:7] sc0
s_waitcnt vmcnt(0)
buffer_inv sc1
v_readfirstlane_b32 s9, v5
s_mov_b64 exec, -1
s_cmp_lg_u32 s9, 3
s_cbranch_scc1 end
global_load_dword v2, v1, s[6:7] offset:256
end:

# global-race | global_load_dword | as workgroup \(0, 0, 0\) does at .*global_store_dword
# s_nop 3 => s_waitcnt vmcnt(0) | grid=4
s_lshl_b32 s8, s2, 8
v_add_u32 v2, s8, v1
global_store_dword v2, v0, s[6:7] offset:256
v_mov_b32 v4, 0
v_mov_b32 v6, 1
buffer_wbl2 sc1
s_nop 3
s_mov_b64 exec, 1
global_atomic_add v5, v4, v6, s[6:7] sc0
s_waitcnt vmcnt(0)
buffer_inv sc1
v_readfirstlane_b32 s9, v5
s_mov_b64 exec, -1
s_cmp_lg_u32 s9, 3
s_cbranch_scc1 end
global_load_dword v2, v1, s[6:7] offset:256
end:

; Two waves store, one of them releases for all: behind a barrier, not before it.
# global-race | global_load_dword | as workgroup \(0, 0, 0\) does at .*global_store_dword
# s_nop 4 => s_barrier | grid=2 block=128
s_lshl_b32 s8, s2, 9
v_add_u32 v2, s8, v1
global_store_dword v2, v0, s[6:7] offset:256
v_mov_b32 v4, 0
v_mov_b32 v6, 1
s_nop 4
buffer_wbl2 sc1
s_waitcnt vmcnt(0)
s_mov_b64 exec, 1
v_readfirstlane_b32 s10, v0
s_cmp_lg_u32 s10, 0
s_cbranch_scc1 end
global_atomic_add v5, v4, v6, s[6:7] sc0
s_waitcnt vmcnt(0)
buffer_inv sc1
v_readfirstlane_b32 s9, v5
s_mov_b64 exec, -1
s_cmp_lg_u32 s9, 1
s_cbranch_scc1 end
global_load_dword v2, v1, s[6:7] offset:512
end:

; A flag that another workgroup polls.
# global-race | global_load_dword | as workgroup \(0, 0, 0\) does at .*global_store_dword
# s_nop 5 => buffer_wbl2 sc1 | grid=2
s_cmp_lg_u32 s2, 0
s_cbranch_scc1 second
global_store_dword v1, v0, s[6:7] offset:256
v_mov_b32 v2, 0
v_mov_b32 v3, 1
s_nop 5
s_waitcnt vmcnt(0)
global_store_dword v2, v3, s[6:7] sc1
s_endpgm
second:
v_mov_b32 v2, 0
again:
global_load_dword v3, v2, s[6:7] sc1
s_waitcnt vmcnt(0)
v_readfirstlane_b32 s8, v3
s_cmp_lg_u32 s8, 1
s_cbranch_scc1 again
buffer_inv sc1
global_load_dword v2, v1, s[6:7] offset:256

# global-race | global_load_dword | as workgroup \(0, 0, 0\) does at .*global_store_dword
# s_nop 6 => buffer_inv sc1 | grid=2
s_cmp_lg_u32 s2, 0
s_cbranch_scc1 second
global_store_dword v1, v0, s[6:7] offset:256
v_mov_b32 v2, 0
v_mov_b32 v3, 1
buffer_wbl2 sc1
s_waitcnt vmcnt(0)
global_store_dword v2, v3, s[6:7] sc1
s_endpgm
second:
v_mov_b32 v2, 0
again:
global_load_dword v3, v2, s[6:7] sc1
s_waitcnt vmcnt(0)
v_readfirstlane_b32 s8, v3
s_cmp_lg_u32 s8, 1
s_cbranch_scc1 again
s_nop 6
global_load_dword v2, v1, s[6:7] offset:256

; A plain load of what others count with atomics.
# global-race | global_atomic_add | as workgroup \(0, 0, 0\) does at .*global_load_dword
# global_load_dword v2, v2, s[6:7] => global_atomic_add v2, v2, v3, s[6:7] sc0 | grid=2
v_mov_b32 v2, 0
v_mov_b32 v3, 1
global_atomic_add v2, v3, s[6:7]
global_load_dword v2, v2, s[6:7]

; Waves ordered by an LDS atomic instead of a barrier.
# lds-race | ds_read_b32 | wave 0 at .*ds_write_b32
# s_nop 7 => ds_add_rtn_u32 v5, v3, v4 | lds=1024 block=128
v_mov_b32 v3, 0x300
v_mov_b32 v4, 1
v_readfirstlane_b32 s8, v0
s_cmp_lg_u32 s8, 0
s_cbranch_scc1 second
ds_write_b32 v1, v0
s_waitcnt lgkmcnt(0)
ds_add_u32 v3, v4
s_endpgm
second:
s_nop 7
s_waitcnt lgkmcnt(0)
v_and_b32 v2, 0xff, v1
ds_read_b32 v2, v2

# divergent-barrier | s_barrier | lanes 40, 41
# s_barrier / s_mov_b64 exec, s[8:9] => s_mov_b64 exec, s[8:9] / s_barrier | 
v_cmp_gt_u32 vcc, 40, v0
s_and_saveexec_b64 s[8:9], vcc
s_barrier
s_mov_b64 exec, s[8:9]

# divergent-barrier | s_barrier | lanes 1, 2
# exec, 1 => exec, -1 | 
s_mov_b64 exec, 1
s_barrier

# barrier-mismatch | s_barrier | wave 0 waits at
# s_barrier / s_endpgm / second: => s_nop 0 / second: | block=128
v_readfirstlane_b32 s8, v0
s_cmp_lg_u32 s8, 0
s_cbranch_scc1 second
s_barrier
s_endpgm
second:
s_barrier

# barrier-mismatch | s_barrier | wave 0 waits at
# s_nop 0 / s_barrier / on => s_nop 0 / on | block=128
s_barrier
v_readfirstlane_b32 s8, v0
s_cmp_lg_u32 s8, 0
s_cbranch_scc0 on
s_nop 0
s_barrier
on:
s_barrier

# born-nan | v_rcp_f32 | lane 0
# v_rcp => v_add_f32 v2, 1.0, v2 / v_rcp | 
v_cvt_f32_u32 v2, v0
v_rcp_f32 v2, v2
s_nop 0
global_store_dword v1, v2, s[6:7]

# born-nan | v_mfma | all lanes
# v8, 0x7f007f00 => v8, 0 | 
CLEAR
v_mov_b32 v4, 0x7f007f00
v_mov_b32 v8, 0x7f007f00
s_nop 1
v_mfma_f32_16x16x32_bf16 v[16:19], v[4:7], v[8:11], v[12:15]

# born-nan | v_mul_f32 | all lanes
# 4.0 => 1.0 | 
v_mov_b32 v2, 0x7f000000
v_mul_f32 v2, 4.0, v2
global_store_dword v1, v2, s[6:7]
