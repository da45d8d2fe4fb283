# CPU:   docker build -t seqserve .
# CUDA:  docker build -t seqserve:cuda --build-arg LOCK=requirements-cuda.lock .
#        Run it with SEQSERVE_PROVIDER=cuda. onnxruntime-gpu also needs CUDA's and cuDNN's libraries: that lock brings them
#        as wheels; without them, the base would have to be one that has them. The driver always comes from the host.
#
# Nothing here is for BuildKit alone. Build with --format docker where that is a choice: OCI's format drops HEALTHCHECK.

# One base for both stages, because the virtual environment is tied to the interpreter that made it. A tag, not a digest: whoever
# pins one must also look after its security updates, which a build with --pull brings by itself.
FROM docker.io/library/python:3.12-slim AS base

# The image brings the standard library without bytecode, and no container could write any: every start and every health
# check would compile it anew. Bytecode is never compared with its source here, since copying may change file times.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x site-packages /usr/local/lib/python3.*


FROM base AS builder

ARG LOCK=requirements.lock
COPY ${LOCK} /build/requirements.lock

# Wheels only: nothing is compiled, and no package's build script runs. The environment itself gets no pip, and the packages' own
# tests are no use to anybody here.
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --only-binary :all: \
        --require-hashes --requirement /build/requirements.lock \
    && find /opt/venv -type d -name tests -prune -exec rm -r {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv

COPY models /app/models
COPY service /app/service

# COPY keeps permissions, and files from a checkout with a strict umask would be closed to the user below.
RUN chmod -R a+rX /app \
    && python -m compileall -q --invalidation-mode unchecked-hash /app/service


FROM base

# What changes most often comes last, so that a new model or new code is a small layer.
COPY LICENSE /app/LICENSE
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app/models /app/models
COPY --from=builder /app/service /app/service

# ORT_DISABLE_TELEMETRY: onnxruntime's Linux wheels report to Microsoft unless told not to, before they are imported.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    SEQSERVE_HOST=0.0.0.0 \
    SEQSERVE_MODELS=/app/models

WORKDIR /app

# As numbers, so that Kubernetes can see that it is not root.
USER 10001:10001

EXPOSE 8000

# /livez, not /readyz: an unhealthy container may be replaced, and one that drains is not broken. http.client takes no
# proxy from the environment, as urllib.request would.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; \
        c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SEQSERVE_PORT', '8000')), timeout=4); \
        c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]

# The same as the default: told once it answers what runs and ends, told twice it ends.
STOPSIGNAL SIGTERM

ENTRYPOINT ["python", "-m", "service"]

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="seqserve" \
      org.opencontainers.image.description="Serves word-level RNN, GRU and LSTM models over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim"
