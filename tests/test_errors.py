from sparse_mla.errors import InputError, KernelFault, SparseMlaError


def test_a_fault_says_everything_it_knows() -> None:
    fault = KernelFault(
        "load beyond the end of main.cache",
        kernel="mla_decode_fused",
        source_line="base_tile.h:130",
        instruction="global_load_dwordx4 v[4:7], v[2:3], off",
        workgroup=(3, 0, 0),
        wave=2,
        lane=63,
        address=0x7F0000001230,
    )
    for part in (
        "mla_decode_fused",
        "beyond the end",
        "base_tile.h:130",
        "global_load_dwordx4",
        "(3, 0, 0)",
        "63",
        "0x7f0000001230",
    ):
        assert part in str(fault)
    assert fault.lane == 63
    assert fault.workgroup == (3, 0, 0)


def test_a_fault_leaves_out_what_it_does_not_know() -> None:
    assert str(KernelFault("endless loop", kernel="k")) == "k: endless loop"


def test_input_errors_are_value_errors() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(InputError, SparseMlaError)
