# The worker's image: packages and code are made ready in stages of their own; the last one has
# them, no root, and nothing to install or build with. How to build and run it: docs/container.md.
#
# A tag moves. For a build that can be repeated name the base by its digest:
#   make image PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
COPY constraints.txt constraints-runtime.txt /tmp/
# Every file is checked against its hash. pyvips comes as source, and what builds it is pinned too:
# without `--no-build-isolation` pip would fetch whatever is newest.
# Compiled here: a read-only container cannot keep what it compiles, and every child would do it
# again. Unchecked, because nobody edits these files.
RUN python -m venv --without-pip /opt/worker \
 && sed -n '/^setuptools==/,/# via/p' /tmp/constraints.txt > /tmp/constraints-build.txt \
 && pip="pip --python /opt/worker/bin/python --no-cache-dir --disable-pip-version-check" \
 && $pip install --root-user-action=ignore --no-compile --require-hashes \
      -r /tmp/constraints-build.txt \
 && $pip install --root-user-action=ignore --no-compile --require-hashes \
      --only-binary=:all: --no-binary=pyvips --no-build-isolation -r /tmp/constraints-runtime.txt \
 && $pip uninstall --root-user-action=ignore --yes --quiet setuptools \
 && find /opt/worker/bin -type f -delete \
 && find /opt/worker/lib -type d \( -name tests -o -name test \) -prune -exec rm -r {} + \
 && find /opt/worker/lib -type f \
      \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.c' \) -delete \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/worker/lib

FROM ${PYTHON_IMAGE} AS code
COPY worker /tmp/worker
COPY scripts/container_health.py /code/health.py
RUN site="/code/lib/$(basename /usr/local/lib/python3.*)/site-packages" \
 && mkdir -p "$site" /code/bin \
 && mv /tmp/worker "$site/worker" \
 && printf '%s\n' '#!/opt/worker/bin/python -P' 'from worker.cli.main import main' 'main()' \
      > /code/bin/photo-worker \
 && chmod 755 /code/bin/photo-worker \
 && python -m compileall -q -j 0 -s /code -p /opt/worker --invalidation-mode unchecked-hash /code/lib

FROM ${PYTHON_IMAGE}
# tini is process 1: a signal that comes before the worker listens ends it, too. The fonts are for
# text in SVG, which would be a row of boxes without any. No versions: Debian removes old ones from
# its mirrors, so a pin would break the next build; the base's digest says which release it is.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends fontconfig-config fonts-dejavu-core tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*.log /var/log/apt \
 && pip uninstall --yes --quiet --root-user-action=ignore pip \
 && rm -rf /usr/local/lib/python3.*/ensurepip \
 && useradd --uid 10001 --user-group --no-log-init --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin worker
COPY --from=packages /opt/worker /opt/worker
# What is imported of Python's own library is compiled by that, and fontconfig's cache is written by
# drawing a letter: in a read-only container neither could be kept.
RUN mkdir -p /var/cache/fontconfig \
 && /opt/worker/bin/python -c 'import google.cloud.storage, google.pubsub_v1, opentelemetry.sdk.trace, \
pi_heif, prometheus_client, pydantic_core, pyvips, rich.progress, structlog, tenacity, typer, \
http.server, sqlite3; \
pyvips.Image.new_from_buffer(b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\">\
<text y=\"9\">a</text></svg>", "").avg()'
COPY --from=code /code /opt/worker
ENV PATH=/opt/worker/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2
USER 10001:10001
WORKDIR /
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["/opt/worker/bin/python", "-I", "-S", "/opt/worker/health.py"]
ENTRYPOINT ["/usr/bin/tini", "--", "photo-worker"]
CMD ["run"]

ARG VERSION="" REVISION="" SOURCE="" PYTHON_IMAGE
LABEL org.opencontainers.image.title="photo-worker" \
      org.opencontainers.image.description="Turns photographs into WebP ladders: a Google Cloud Pub/Sub consumer worker" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
