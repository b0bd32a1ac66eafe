"""What a worker that died of an illegal instruction is said to have died of."""

from pathlib import Path

import pytest

from xbackend.execution.workers.channel import WorkerOutput
from xbackend.execution.workers.launcher import Launch, final_record
from xbackend.execution.workers.process import WorkerEnd
from xbackend.platforms.platform import Platform
from xbackend.worker.contract import BackendSpec
from xbackend.worker.job import Job

JOB = Job("fake", "fake:Adapter", {}, "", {}, (), "layers", "", "")
SPEC = BackendSpec(
    word="fake",
    title="Fake",
    adapter="fake:Adapter",
    modules=(),
    distributions=(),
    formats={"float32": "graph"},
    required_flags={"avx": "Fake's wheel needs AVX"},
)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["sse4_2"], "Fake's wheel needs AVX, which this processor does not have."),
        (["avx", "avx2"], "this processor has AVX2 without FMA, and few frameworks expect one"),
        (["avx", "avx2", "fma"], "the framework used an instruction that this processor does not"),
        ([], "the framework used an instruction that this processor does not have."),
    ],
)
def test_an_illegal_instruction_is_explained_by_what_the_framework_needs(flags, why):
    launch = Launch({"id": "r", "settings": {}}, JOB, Platform("qemu:Nehalem"), Path(), spec=SPEC)
    answer = WorkerOutput("import", {"hardware": {"flags": flags}})
    error = final_record(launch, answer, WorkerEnd(-4), timeout=1, seconds=1)["error"]
    assert (error["symptom"], error["stage"]) == ("SIGILL", "import")
    assert why in error["message"]
    assert error["message"].startswith("The worker of 'fake' on 'qemu:Nehalem' died with SIGILL")
