# dml on a GPU machine: torch's wheels bring CUDA, the host's NVIDIA container toolkit brings the driver.
#   docker build -t dml .
#   docker run --rm --gpus all --ipc=host -v "$PWD/photos:/data:ro" -v "$PWD/runs:/home/dml/runs" dml fit --data.root /data
#   docker run --rm -p 6006:6006 -v "$PWD/runs:/home/dml/runs" --entrypoint tensorboard dml --logdir runs --host 0.0.0.0
# Runs belong to user 1000; make the host's folder writable for it, or add --user "$(id -u):$(id -g)".
FROM python:3.12-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    UV_SYSTEM_PYTHON=1 \
    UV_NO_CACHE=1 \
    MPLCONFIGDIR=/tmp/matplotlib

RUN pip install --no-cache-dir "uv>=0.5,<1"

# The dependencies are a layer of their own: a change of the code does not install 6 GB again.
WORKDIR /opt/dml
COPY pyproject.toml .tested-versions.txt ./
RUN uv pip install -r pyproject.toml -c .tested-versions.txt

COPY README.md LICENSE ./
COPY configs ./configs
COPY dml ./dml
RUN uv pip install --no-deps . \
    && useradd --create-home --uid 1000 dml \
    && mkdir /home/dml/runs && chown dml:dml /home/dml/runs

USER 1000
# also where --user names another: home may not be writable then
ENV HOME=/home/dml DML_CACHE=/tmp/dml-cache
WORKDIR /home/dml
VOLUME /home/dml/runs
EXPOSE 6006
ENTRYPOINT ["dml"]
CMD ["--help"]
