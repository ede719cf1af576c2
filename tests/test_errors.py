from sparse_mla.errors import InputError, KernelFault, SparseMlaError


def test_a_fault_says_what_it_knows_and_leaves_out_what_it_does_not() -> None:
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
    first, *rest = str(fault).splitlines()
    assert first == "mla_decode_fused: load beyond the end of main.cache"
    assert dict(line.split(maxsplit=1) for line in rest) == {
        "source": "base_tile.h:130",
        "instruction": "global_load_dwordx4 v[4:7], v[2:3], off",
        "workgroup": "(3, 0, 0)",
        "wave": "2",
        "lane": "63",
        "address": "0x7f0000001230",
    }
    assert str(KernelFault("endless loop", kernel="k", lane=0)) == "k: endless loop\n  lane        0"


def test_input_errors_are_value_errors() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(InputError, SparseMlaError)
