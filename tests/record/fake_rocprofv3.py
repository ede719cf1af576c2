"""Stands in for rocprofv3 7.x where there is none: takes its arguments and input files as strictly as the real one should be
used, and writes what it would, in its places and columns. Standard library only, for it is started once a pass.

The folder FAKE_ROCPROF holds what to replay (kernel_trace.csv, agent_info.csv, att/), does.json (what goes wrong in which step)
and calls.jsonl, in which every call is noted.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

SLOTS = {"SQ": 8, "TA": 2, "TCP": 4, "TCC": 4, "GRBM": 2}
COUNTER_ROWS = (
    '"Correlation_Id","Dispatch_Id","Agent_Id","Queue_Id","Process_Id","Thread_Id","Grid_Size","Kernel_Id","Kernel_Name",'
    '"Workgroup_Size","LDS_Block_Size","Scratch_Size","VGPR_Count","Accum_VGPR_Count","SGPR_Count","Counter_Name","Counter_Value",'
    '"Start_Timestamp","End_Timestamp"\n'
)
FILTERED = {"kernel_include_regex": str, "output_format": list}
JOBS = (  # keys and types of the three kinds of job
    {"kernel_trace": bool, "stats": bool, "output_format": list},
    {"pmc": list, **FILTERED},
    {"advanced_thread_trace": bool, "att_target_cu": int, "att_shader_engine_mask": str, "att_simd_select": str,
     "att_buffer_size": str, **FILTERED},
)  # fmt: skip


def main(arguments: list[str]) -> int:
    store = Path(os.environ["FAKE_ROCPROF"])
    flag, given, folder, out, dashes, *program = arguments
    assert (flag, folder, dashes) == ("-i", "-d", "--"), arguments
    with (store / "calls.jsonl").open("a") as calls:
        print(json.dumps([given, out, program]), file=calls)
    (job,) = json.loads(Path(given).read_text())["jobs"]
    assert {key: type(value) for key, value in job.items()} in JOBS, job
    does = json.loads((store / "does.json").read_text()).get(Path(out).name, "")
    place = Path(out) / "pass_1" / "host"
    if does == "nothing":
        return 0
    if does == "fail":
        print("E20261122 rocprofv3: agent not supported", file=sys.stderr)
        return 3
    place.mkdir(parents=True)
    if "pmc" in job:
        if any(n > SLOTS[block] for block, n in Counter(name.split("_")[0] for name in job["pmc"]).items()):
            os.abort()  # as the real one does inside the first dispatch
        text = COUNTER_ROWS
        for i, kernel in enumerate(["decode_partial", "decode_reduce"], start=11):
            for name in job["pmc"]:
                shape = f'{i},{i},"Agent 4",1,77,78,2048,{i},"{kernel}(DecodeParams) [clone .kd]",256,82432,0,128,4,64'
                text += f'{shape},"{name}",{len(name) * i:.6f},900,1000\n'
        (place / "77_counter_collection.csv").write_text(text[:-40] if does == "partial" else text)
    elif "kernel_trace" in job:
        shutil.copy(store / "kernel_trace.csv", place / "77_kernel_trace.csv")
    else:
        int(job["att_shader_engine_mask"], 16), int(job["att_buffer_size"], 16)
        shutil.copytree(store / "att", Path(out) / "pass_1", dirs_exist_ok=True)
    shutil.copy(store / "agent_info.csv", place / "77_agent_info.csv")
    if does in ("hang", "crash"):
        child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"])
        (store / f"child of {does}").write_text(str(child.pid))
        time.sleep(60) if does == "hang" else os.abort()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
