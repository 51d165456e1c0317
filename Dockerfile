# The worker's image: pinned dependencies from one stage, the code, no build tools, no root.

FROM python:3.12-slim-bookworm AS dependencies
COPY constraints-runtime.txt /tmp/
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
      --require-hashes -r /tmp/constraints-runtime.txt

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home worker
COPY --from=dependencies /opt/venv /opt/venv
COPY worker /app/worker
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
USER worker
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "worker"]
CMD ["run"]
