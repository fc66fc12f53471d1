"""A training under Slurm: its signals are sent by hand, as a controller and its daemons do not run in a test."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dml.callbacks import GracefulInterrupt

SCRIPTS = Path(__file__).parents[2] / "docs" / "slurm"

# stands for `dml`: what it was given, and a training that SIGTERM has save and end
TRAINING = """#!/bin/bash
echo "$@" >> "$CALLS"
case " $* " in *" --ckpt_path last "*) exit 0 ;; esac
mkdir -p runs/first/checkpoints
trap 'sleep 0.3; touch runs/first/checkpoints/last.ckpt; exit 130' TERM
touch up
for i in $(seq 200); do sleep 0.05; done
"""


def _program(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM])
def test_the_script_saves_queues_itself_again_and_goes_on(tmp_path, sent):
    place = tmp_path / "bin"
    place.mkdir()
    _program(place, "srun", '#!/bin/bash\nshift\nexec "$@"\n')
    _program(place, "scontrol", '#!/bin/bash\necho "scontrol $@" >> "$CALLS"\n')
    calls = tmp_path / "calls"
    environment = os.environ | {
        "PATH": f"{place}:{os.environ['PATH']}",
        "DML": str(_program(place, "training", TRAINING)),
        "CALLS": str(calls),
        "NAME": "first",
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_NTASKS_PER_NODE": "4",
    }
    words = ["bash", str(SCRIPTS / "train.sbatch"), "--config", "x.yaml"]
    job = subprocess.Popen(words, cwd=tmp_path, env=environment)
    while not (tmp_path / "up").exists():
        time.sleep(0.02)
    job.send_signal(sent)
    assert job.wait(200) == 0
    given = "fit --config x.yaml --runs_dir runs --name first --trainer.num_nodes 2 --trainer.devices 4"
    assert calls.read_text().splitlines() == [given, "scontrol requeue 77"]
    assert subprocess.run(words, cwd=tmp_path, env=environment, timeout=200).returncode == 0
    assert calls.read_text().splitlines()[2] == given.replace("--trainer.num", "--ckpt_path last --trainer.num")


def test_the_scripts_are_shell():
    for script in SCRIPTS.glob("*.sbatch"):
        assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def test_slurms_signal_saves_in_the_run_and_nowhere_else(dml, small, monkeypatch, tmp_path):
    job = {"JOB_ID": "7", "JOB_NAME": "train", "NTASKS": "1", "NTASKS_PER_NODE": "1", "PROCID": "0", "LOCALID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODEID", "0")
    monkeypatch.setenv("PATH", str(_program(tmp_path, "scontrol", "#!/bin/bash\ntouch requeued\n").parent), prepend=":")

    def warn(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 5:
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(GracefulInterrupt, "on_train_batch_start", warn, raising=False)
        code, out, err = dml("fit", "--name", "first", *small)
    assert code == 130, err
    assert "--ckpt_path last" in out
    assert not list(Path().glob("hpc_ckpt*"))
    assert not Path("requeued").exists()
    assert dml("fit", "--name", "first", "--ckpt_path", "last")[0] == 0
