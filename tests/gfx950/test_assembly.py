"""Assembly text to a program, and the errors for what is not understood."""

from __future__ import annotations

import pytest

from sparse_mla.errors import AssemblyError, InputError
from sparse_mla.gfx950.assembly import Arg, parse, parse_arg, parse_instruction
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.machine import run_snippet

TEXT = """
	.amdgcn_target "amdgcn-amd-amdhsa--gfx950"
	.text
	.type	helper,@object                  ; not a function
	.type	first,@function
first:                                  ; @first
	.file	0 "." "kernel.hip" md5 0x1
	s_load_dwordx2 s[2:3], s[0:1], 0x0      // both kinds of comment
	.file	1 "include" "shim.h" md5 0x2
	.loc	0 7 3 prologue_end              ; kernel.hip:7:3
	v_mov_b32_e32 v9, 1.0
	.loc	1 27 65 is_stmt 0
.LBB0_1:                                ; =>This Inner Loop
	s_waitcnt vmcnt(0) lgkmcnt(0)
	v_accvgpr_write_b32 a4, v9
	.loc	0 0 7
	s_cbranch_scc1 .LBB0_1
; %bb.2:
	s_endpgm
.Lfunc_end0:
	.size	first, .Lfunc_end0-first
	.section	.rodata,"a",@progbits
	.amdhsa_kernel first
		.amdhsa_group_segment_fixed_size 1024
		.amdhsa_kernarg_size 0x14
		.amdhsa_user_sgpr_kernarg_segment_ptr 1
		.amdhsa_next_free_vgpr max(totalnumvgprs(first.num_agpr, first.num_vgpr), 1, 0)
	.end_amdhsa_kernel
	.text
	.type	second,@function
second:
	s_endpgm
	.size	second, 4
	.amdhsa_kernel second
		.amdhsa_kernarg_size 0
	.end_amdhsa_kernel
	.type	device_function,@function
device_function:
	s_setpc_b64 s[30:31]
	.size	device_function, 4
	.section	.AMDGPU.csdata,"",@progbits
; NumVgprs: 10
	.long	0
	.amdgpu_metadata
---
amdhsa.kernels:
  - .agpr_count:     5
    .name:           first
...
	.end_amdgpu_metadata
"""


def test_a_whole_file() -> None:
    program = parse(TEXT)
    assert list(program.kernels) == ["first", "second"]
    first = program["first"]
    mnemonics = "s_load_dwordx2 v_mov_b32_e32 s_waitcnt v_accvgpr_write_b32 s_cbranch_scc1 s_endpgm"
    assert " ".join(x.mnemonic for x in first.instructions) == mnemonics
    where = ["asm:8", "kernel.hip:7", "include/shim.h:27", "include/shim.h:27", "asm:17", "asm:19"]
    assert [x.source_line for x in first.instructions] == where
    assert first.labels[".LBB0_1"] == 2
    assert first.lds_bytes == 1024
    assert first.descriptor["kernarg_size"] == 20
    assert first.registers == {"v": 10, "a": 5, "s": 4}
    assert [x.mnemonic for x in program["second"].instructions] == ["s_endpgm"]
    with pytest.raises(InputError, match=r"no kernel 'third'.*first, second"):
        program["third"]


@pytest.mark.parametrize("text, arg", [
    ("v7", Arg("v", 7)), ("v[4:7]", Arg("v", 4, 4)), ("a[0:15]", Arg("a", 0, 16)), ("s[2:3]", Arg("s", 2, 2)),
    ("v[5]", Arg("v", 5)), ("vcc", Arg("s", 106, 2)), ("vcc_hi", Arg("s", 107)), ("exec", Arg("s", 126, 2)),
    ("exec_lo", Arg("s", 126)), ("m0", Arg("s", 124)), ("-v3", Arg("v", 3, neg=True)), ("|v3|", Arg("v", 3, abs=True)),
    ("-|s3|", Arg("s", 3, neg=True, abs=True)),
    ("sext(v3)", Arg("v", 3, sext=True)), ("0x7fff", Arg("int", value=0x7FFF)), ("-16", Arg("int", value=-16)),
    ("0.5", Arg("float", value=0.5)), ("-4.0", Arg("float", value=-4.0)), ("off", Arg("off")),
    (".LBB0_10", Arg("label", value=".LBB0_10")),
])  # fmt: skip
def test_operands(text: str, arg: Arg) -> None:
    assert parse_arg(text) == arg


@pytest.mark.parametrize("text", ["v[", "v[1:", "1.5.2", "0xg", "s[1;2]", "%eax", "|v1", ""])
def test_not_operands(text: str) -> None:
    with pytest.raises(ValueError):
        parse_arg(text)


@pytest.mark.parametrize("text, operands, modifiers", [
    ("global_load_dwordx4 v[0:3], v[4:5], off offset:-16 sc0 nt", 3, {"offset": "-16", "sc0": "", "nt": ""}),
    ("ds_read2_b32 v[0:1], v2 offset0:3 offset1:7", 2, {"offset0": "3", "offset1": "7"}),
    ("v_pk_mul_f32 v[0:1], v[2:3], s[4:5] op_sel:[0,1] op_sel_hi:[1,0]", 3, {"op_sel": "[0,1]", "op_sel_hi": "[1,0]"}),
    ("v_pk_mul_f32 v[0:1], v[2:3], s[4:5] op_sel_hi:[1, 0]", 3, {"op_sel_hi": "[1, 0]"}),
    ("v_add_f32_e64 v0, -v1, |v2| clamp", 3, {"clamp": ""}),
    ("v_mov_b32_sdwa v0, v1 dst_sel:WORD_1 src0_sel:BYTE_2", 2, {"dst_sel": "WORD_1", "src0_sel": "BYTE_2"}),
    ("s_waitcnt vmcnt(3) lgkmcnt(0)", 0, {"wait": "vmcnt(3) lgkmcnt(0)"}),
    ("s_endpgm", 0, {}),
])  # fmt: skip
def test_instructions(text: str, operands: int, modifiers: dict[str, str]) -> None:
    instruction = parse_instruction(text)
    assert (len(instruction.args), instruction.modifiers, instruction.text) == (operands, modifiers, text)


@pytest.mark.parametrize("line, words", [
    ("v_frobnicate_f32 v0, v1", "unknown instruction v_frobnicate_f32"),
    ("v_add_f32_e16 v0, v1, v2", "unknown instruction v_add_f32_e16"),
    ("v_mov_b32_dpp v0, v1 row_mask:0xf bank_mask:0xf", "DPP"),
    ("v_add_f32 v0, v1, v2 mul:3", "modifier mul"),
    ("v_mul_u32_u24 v0, v1, v2 clamp", "modifier clamp"),
    ("v_mov_b32 v0, v1 offset:4", "modifier offset"),
    ("global_load_dword v0, v[2:3], off lds", "modifier lds"),
    ("ds_read_b32 v0, v1 gds", "modifier gds"),
    ("v_add_f32 v0, v1", "takes 3 operands, not 2"),
    ("v_add_f32 v0, v1, v2, v3", "takes 3 operands, not 4"),
    ("v_add_f32 v[0:1], v2, v3", "takes 1 registers, not 2"),
    ("v_mad_u64_u32 v[0:1], vcc, v2, v3, v4", "takes 2 registers, not 1"),
    ("v_mfma_f32_16x16x32_bf16 v[0:7], v[8:11], v[12:15], v[0:7]", "takes 4 registers, not 8"),
    ("v_mfma_f32_16x16x32_bf16 v[0:3], 1.0, v[4:7], 0", "cannot be float"),
    ("v_mfma_f32_16x16x32_bf16 v[0:3], v[8:11], v[4:7], s[0:3]", "must be a vector"),
    ("s_add_u32 s0, v1, s2", "must be scalar"),
    ("v_add_f32 s0, v1, v2", "must be a vector"),
    ("v_add_f32 1.0, v1, v2", "cannot be float"),
    ("v_add_f32 v0, off, v2", "cannot be off"),
    ("v_add_f32 v0, v1, %5", "cannot read operand '%5'"),
    ("v_add_u32 v0, -v1, v2", "negation"),
    ("v_mov_b32_sdwa v0, v1 src0_sel:BYTE_7", "SDWA selector"),
    ("v_mov_b32_sdwa v0, v1 dst_sel:BYTE_0 dst_unused:UNUSED_ONES", "UNUSED_ONES"),
    ("v_pk_add_f32 v[0:1], v[2:3], -v[4:5]", "takes its signs"),
    ("v_pk_add_u16 v0, v2, v4 neg_lo:[0,1]", "signs"),
    ("v_pk_add_f32 v[0:1], v[2:3], 1.0", "constant"),
    ("global_load_dword v0, v2, off", "address must be a VGPR pair"),
    ("global_load_dword v0, v[2:3], s[4:5]", "address must be one VGPR"),
    ("s_branch nowhere", "no label nowhere"),
])  # fmt: skip
def test_what_is_not_understood_names_itself_and_its_line(line: str, words: str) -> None:
    """Never a guess: an error with the instruction and where it stands, both in a snippet and in a kernel with a line table."""
    with pytest.raises(AssemblyError) as snippet:
        run_snippet(f"s_nop 0\n{line}")
    with pytest.raises(AssemblyError) as kernel:
        decode(parse(TEXT.replace("v_mov_b32_e32 v9, 1.0", line))["first"])
    for error in (snippet, kernel):
        assert words in str(error.value)
        assert f"`{line}`" in str(error.value)
    assert "line 2" in str(snippet.value) or "asm:2" in str(snippet.value)
    assert "kernel.hip:7" in str(kernel.value) or "line 11" in str(kernel.value)


def test_inlining_is_known_innermost_call_first() -> None:
    inner = "\t.loc\t1 27 65 is_stmt 0           ; shim.h:27:65 @[ kernel.hip:5:2 @[ kernel.hip:9:1 ] ]"
    first = parse(TEXT.replace("\t.loc\t1 27 65 is_stmt 0", inner))["first"].instructions
    assert [ins.callers for ins in first] == [(), (), *2 * [(("kernel.hip", 5), ("kernel.hip", 9))], (), ()]
    assert first[2].source == ("include/shim.h", 27)
    outer = inner.replace("1 27", "0 27").replace("kernel.hip:5", "shim.h:5")  # the comment has no folder, .file has
    assert parse(TEXT.replace("\t.loc\t1 27 65 is_stmt 0", outer))["first"].instructions[2].callers[0] == ("include/shim.h", 5)
