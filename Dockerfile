# syntax=docker/dockerfile:1
# The pod as an image: CUDA's runtime, Python 3.11, Pistachio from constraints.txt, nobody is root.  Not yet built.
#   docker build -t pistachio .
#   docker run --gpus all -v ada:/workspace pistachio            startup, then ComfyUI is kept running
#   docker run --gpus all -v ada:/workspace pistachio python -m pod cycle
ARG PYTHON=3.11.13
ARG CUDA=12.8.1

FROM python:${PYTHON}-slim-bookworm AS python

FROM nvidia/cuda:${CUDA}-cudnn-runtime-ubuntu24.04
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# What OpenCV, git and Python itself take from the system.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      ca-certificates git libbz2-1.0 libexpat1 libffi8 libgl1 libglib2.0-0t64 liblzma5 libncursesw6 libreadline8t64 \
      libsqlite3-0 libssl3t64 libxcb1 zlib1g \
 && rm -rf /var/lib/apt/lists/*
COPY --from=python /usr/local/ /usr/local/

RUN ldconfig \
 && useradd --uid 1001 --create-home pistachio \
 && install -d -o pistachio /opt/pistachio /workspace
USER 1001
WORKDIR /opt/pistachio

# The packages first: they change less often than the code.
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
ARG ONNXRUNTIME=onnxruntime-gpu==1.31.1
COPY --chown=pistachio constraints.txt pyproject.toml setup.py MANIFEST.in README.md LICENSE dvc.yaml ./
COPY --chown=pistachio conf/ conf/
COPY --chown=pistachio stages/ stages/
COPY --chown=pistachio pod/ pod/
COPY --chown=pistachio miniature/ miniature/
# onnxruntime of the GPU last and alone: insightface asks for the CPU's, and both write the same files.
RUN python3.11 -m venv .venv \
 && .venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "${TORCH}" \
 && .venv/bin/pip install --no-cache-dir --constraint constraints.txt --editable ".[gpu]" \
 && .venv/bin/pip uninstall --yes onnxruntime onnxruntime-gpu \
 && .venv/bin/pip install --no-cache-dir --no-deps "${ONNXRUNTIME}"

ENV PATH=/opt/pistachio/.venv/bin:${PATH} \
    PISTACHIO_POD=/opt/pistachio/pod/container.toml \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1
WORKDIR /workspace
VOLUME ["/workspace"]
EXPOSE 8188
HEALTHCHECK --interval=60s --timeout=30s --start-period=20m --retries=3 CMD ["python", "-m", "pod", "health"]
CMD ["bash", "-c", "python -m pod startup && exec python -m pod watch"]
