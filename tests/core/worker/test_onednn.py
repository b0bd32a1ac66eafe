"""What oneDNN says of its instructions, as its verbose logs have it."""

from __future__ import annotations

import os

import pytest

from xbackend.worker.machine.onednn import is_within_isa_limit, isa_from_log, isa_told_by, restore

SAID = (
    ("Intel SSE4.1", "sse41"),
    ("Intel AVX", "avx"),
    ("Intel AVX2", "avx2"),
    ("Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions", "avx512_core"),
)


@pytest.mark.parametrize(("place", "said"), list(enumerate(said for said, _ in SAID)))
def test_a_set_is_within_itself_and_those_that_came_later(place: int, said: str) -> None:
    assert [is_within_isa_limit(said, most) for _, most in SAID] == [
        at >= place for at in range(len(SAID))
    ]


def test_extensions_beyond_a_set_are_not_within_it_nor_is_what_is_not_known() -> None:
    assert not is_within_isa_limit("Intel AVX-512 with Intel DL Boost", "avx512_core")
    assert not is_within_isa_limit("", "avx2")


def test_the_instructions_are_read_out_of_a_log() -> None:
    log = "onednn_verbose,v1,info,oneDNN v3.10.2\nonednn_verbose,v1,info,cpu,isa:Intel AVX2 \nx\n"
    assert isa_from_log(log) == "Intel AVX2"
    assert isa_from_log("onednn_verbose,info,gpu") == ""


LINE = b"onednn_verbose,info,cpu,isa:Intel AVX2\n"


def test_what_a_library_prints_meanwhile_is_isa_told_by_and_what_follows_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert isa_told_by(lambda: os.write(1, LINE)) == "Intel AVX2"
    print("after", flush=True)
    assert capfd.readouterr().out == "after\n"


def test_the_output_is_given_back_where_computing_fails(capfd: pytest.CaptureFixture[str]) -> None:
    given: list[int] = []

    def give_back(kept: int) -> None:
        given.append(kept)
        restore(kept)

    with pytest.raises(ZeroDivisionError):
        isa_told_by(lambda: 1 // 0, give_back)
    print("after", flush=True)
    assert len(given) == 1
    assert capfd.readouterr().out == "after\n"
